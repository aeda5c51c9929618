//! A way to a server that can be cut without a word, held up, or made to lie.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

/// A TCP proxy on a port of its own, gone with the test process.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Connections of earlier generations are heard by nobody, and not closed.
    generation: AtomicUsize,
    /// The port to which new connections are led.
    server: AtomicU16,
    rules: Mutex<Rules>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rules {
    /// What comes after this was asked is kept back.
    hold: Option<Vec<u8>>,
    held: bool,
    /// In what the server says.
    replace: Option<(Vec<u8>, Vec<u8>)>,
}

impl Proxy {
    /// In front of a server on loopback.
    pub fn before(server: u16) -> Self {
        Self::before_at("127.0.0.1:0", server)
    }

    /// The same at an address of its own.
    pub fn before_at(address: &str, server: u16) -> Self {
        let listener = TcpListener::bind(address).expect("loopback");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared { server: AtomicU16::new(server), ..Shared::default() });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = ("127.0.0.1", of_thread.server.load(Ordering::SeqCst));
                let Ok(server) = TcpStream::connect(server) else { continue };
                let generation = of_thread.generation.load(Ordering::SeqCst);
                let holds = Arc::new(Mutex::new(false));
                for (from, to, up) in [(&client, &server, true), (&server, &client, false)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let (shared, holds) = (of_thread.clone(), holds.clone());
                    std::thread::spawn(move || pass(&shared, generation, from, to, up, &holds));
                }
            }
        });
        Self { port, shared }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another server on loopback; open ones stay where they are. So it is when a name or an
    /// address moves.
    pub fn redirect(&self, server: u16) {
        self.shared.server.store(server, Ordering::SeqCst);
    }

    /// From now on nothing more passes over the connections that are open, either way, and they stay open; new ones
    /// work. So it is when a host loses power and another takes its address.
    pub fn vanish(&self) {
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Keeps back what the server says on the first connection that asks `what`, until [`Self::let_go`].
    pub fn hold_after(&self, what: &[u8]) {
        *self.rules() = Rules { hold: Some(what.to_vec()), ..Rules::default() };
    }

    /// Whether something is held.
    pub fn holds(&self) -> bool {
        self.rules().held
    }

    /// What was held passes.
    pub fn let_go(&self) {
        *self.rules() = Rules::default();
        self.shared.changed.notify_all();
    }

    /// Lets the server say `to` for `from`, which is as long.
    pub fn replace(&self, from: &str, to: &str) {
        assert_eq!(from.len(), to.len());
        self.rules().replace = Some((from.into(), to.into()));
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.shared.rules.lock().expect("nobody panics with it")
    }
}

fn pass(shared: &Shared, generation: usize, mut from: TcpStream, mut to: TcpStream, up: bool, holds: &Mutex<bool>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if shared.generation.load(Ordering::SeqCst) != generation {
            continue;
        }
        let mut rules = shared.rules.lock().expect("nobody panics with it");
        if up && !rules.held && rules.hold.as_deref().is_some_and(|what| find(&buffer[..n], what).is_some()) {
            rules.held = true;
            *holds.lock().expect("nobody panics with it") = true;
        }
        while !up && *holds.lock().expect("nobody panics with it") && rules.held {
            rules = shared.changed.wait(rules).expect("nobody panics with it");
        }
        if let Some((old, new)) = rules.replace.as_ref().filter(|_| !up)
            && let Some(at) = find(&buffer[..n], old)
        {
            buffer[at..at + new.len()].copy_from_slice(new);
        }
        drop(rules);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    if shared.generation.load(Ordering::SeqCst) == generation {
        for socket in [from, to] {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
