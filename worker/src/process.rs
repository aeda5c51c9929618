use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Keeps this process's memory, and so the keys in it, out of core files: the limit for them
/// becomes 0, and on Linux the process is no longer dumpable, so that nobody else of the same user
/// can attach to it or read its memory either. Call it first thing in a process that holds keys.
/// The price: no core files and no debugger for the rest of its life.
pub fn protect_keys() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}
