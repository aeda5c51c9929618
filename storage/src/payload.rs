//! What a value is to the application, and the bytes that are encrypted of it

use std::{io, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

/// How a field's values become plaintext and come back
///
/// Implement it for a format of one's own; `Json`, `Bytes` and `Text` are here.
pub trait Payload: Send + Sync + 'static {
    /// What a write is given
    type Given: ?Sized + Sync;
    /// What a read returns
    type Taken: Send;
    /// What a value is called when it is not one
    const EXPECTED: &'static str;

    /// The plaintext; `None` when the value cannot be written
    fn write(value: &Self::Given) -> Option<Wiping>;

    /// The value; `None` when the plaintext is none. Whatever is copied out of it is not wiped with it.
    fn read(plaintext: Zeroizing<Vec<u8>>) -> Option<Self::Taken>;
}

/// Bytes as they are; a read returns them in a buffer that wipes itself
#[derive(Clone, Copy, Debug)]
pub struct Bytes;

/// UTF-8; a read returns it in a string that wipes itself
#[derive(Clone, Copy, Debug)]
pub struct Text;

/// A value as JSON, by serde
///
/// The JSON itself is wiped. `T` is yours: derive `Zeroize` and `ZeroizeOnDrop` for it, and what was
/// read is wiped too. A string with JSON escapes passes through a buffer of the parser that is not.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(PhantomData<fn() -> T>);

impl Payload for Bytes {
    type Given = [u8];
    type Taken = Zeroizing<Vec<u8>>;
    const EXPECTED: &'static str = "bytes";

    fn write(value: &[u8]) -> Option<Wiping> {
        let mut out = Wiping::default();
        out.extend(value);
        Some(out)
    }

    fn read(plaintext: Zeroizing<Vec<u8>>) -> Option<Self::Taken> {
        Some(plaintext)
    }
}

impl Payload for Text {
    type Given = str;
    type Taken = Zeroizing<String>;
    const EXPECTED: &'static str = "text in UTF-8";

    fn write(value: &str) -> Option<Wiping> {
        Bytes::write(value.as_bytes())
    }

    fn read(mut plaintext: Zeroizing<Vec<u8>>) -> Option<Self::Taken> {
        match String::from_utf8(std::mem::take(&mut *plaintext)) {
            Ok(text) => Some(Zeroizing::new(text)),
            Err(bytes) => {
                bytes.into_bytes().zeroize();
                None
            }
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Payload for Json<T> {
    type Given = T;
    type Taken = T;
    const EXPECTED: &'static str = "the JSON of its type";

    // serde's errors quote the value, so they end here.
    fn write(value: &T) -> Option<Wiping> {
        let mut out = Wiping::default();
        serde_json::to_writer(&mut out, value).ok()?;
        Some(out)
    }

    fn read(plaintext: Zeroizing<Vec<u8>>) -> Option<T> {
        serde_json::from_slice(&plaintext).ok()
    }
}

/// A growing buffer that wipes what it leaves behind: when it moves to a larger place, and when it is
/// dropped
///
/// A `Vec` that grows frees its old bytes as they are, with half of a secret in them. The price is a
/// copy at each growth, which doubles.
#[derive(Default)]
pub struct Wiping(Zeroizing<Vec<u8>>);

impl Wiping {
    /// Adds bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger; // the old one is wiped as it is dropped
        }
        self.0.extend_from_slice(bytes);
    }
}

impl io::Write for Wiping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRef<[u8]> for Wiping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::Deref for Wiping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decrypted_arrives_in_buffers_that_wipe_themselves() {
        fn wipes<T: zeroize::ZeroizeOnDrop>() {}
        wipes::<<Bytes as Payload>::Taken>();
        wipes::<<Text as Payload>::Taken>();
        wipes::<Zeroizing<Vec<u8>>>();
    }

    #[test]
    fn a_buffer_grows_into_a_new_place_and_never_in_its_old_one() {
        let mut buffer = Wiping::default();
        for n in 0..1_000u32 {
            let (before, room) = (buffer.0.as_ptr(), buffer.0.capacity());
            buffer.extend(&n.to_be_bytes());
            // Within its room it stays; a `Vec` that reallocated by itself would have another
            // capacity than the one that was asked for here.
            let grew = buffer.0.capacity() != room;
            assert!(grew || buffer.0.as_ptr() == before);
            assert!(!grew || buffer.0.capacity() == (buffer.0.len()).max(2 * room), "{room}");
        }
        assert_eq!(buffer.len(), 4_000);
        assert_eq!(buffer[3_996..], 999u32.to_be_bytes());
    }

    #[test]
    fn a_value_that_is_no_json_of_its_type_is_not_quoted() {
        assert!(Json::<u32>::read(Zeroizing::new(b"\"secret\"".to_vec())).is_none());
        assert_eq!(Json::<u32>::read(Zeroizing::new(b"7".to_vec())), Some(7));
        assert!(Text::read(Zeroizing::new(vec![0xff])).is_none());
    }
}
