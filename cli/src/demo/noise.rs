//! Random plaintexts, and random choices: from one pool that the operating system filled.

use crate::failure::Failure;

const POOL: usize = 1 << 20;
const SHORTEST: usize = 64;
const LONGEST: usize = 1_024;

/// Good enough to be re-encrypted, not to be a secret.
pub(super) struct Noise {
    pool: Vec<u8>,
    state: u64,
}

impl Noise {
    pub(super) fn new() -> Result<Self, Failure> {
        let mut pool = vec![0; POOL];
        let failed = |e| Failure::new("no_randomness", format!("the operating system gave no randomness: {e}"));
        getrandom::fill(&mut pool).map_err(failed)?;
        Ok(Self { pool, state: getrandom::u64().map_err(failed)? | 1 })
    }

    /// Below `limit`, which is not zero. Xorshift64*.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        ((self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize) % limit
    }

    /// 64 to 1,024 random bytes.
    pub(super) fn plaintext(&mut self) -> &[u8] {
        let length = SHORTEST + self.below(LONGEST - SHORTEST + 1);
        let from = self.below(POOL - length);
        &self.pool[from..from + length]
    }
}
