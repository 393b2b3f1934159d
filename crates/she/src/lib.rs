//! An emulated Secure Hardware Extension (AUTOSAR "Specification of Secure Hardware Extensions", release 22-11), and [`SheKeys`], the key store over
//! it. For tests: no hardware is behind it. It is deterministic, and tells how long each command would take.
//!
//! There are the commands that Ringfort and its end of the line need, with their error codes. Left out: encryption for the application, the
//! secure boot itself (its outcome is given), EXTEND_SEED, the debugger's activation, and the second bank of keys of an SHE+.

mod cipher;
mod memory;
mod store;
mod update;

use cipher::{
    Block, KEY_UPDATE_ENC_C, KEY_UPDATE_MAC_C, PRNG_KEY_C, PRNG_SEED_KEY_C, cmac, decrypt_cbc, derive, encrypt,
};
use memory::{Memory, Stored};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub use memory::{Flags, Slot};
pub use store::{Personalisation, SheKeys, Wrapped, personalise};
pub use update::{Proof, Uid, Update, unpack};

/// What a command failed with: the specification's ERC of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The key is locked: by the outcome of the secure boot, or as a debugger was there.
    KeyNotAvailable,
    /// The key's slot or its flags do not allow this.
    KeyInvalid,
    /// There is no key.
    KeyEmpty,
    /// The slot is write-protected, for ever.
    KeyWriteProtected,
    /// Not authentic, of another device, or the counter does not rise.
    KeyUpdate,
    /// The random number generator has no seed yet.
    RngSeed,
    /// Anything else.
    General,
}

/// What a command takes, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Each command: the driver, its interrupt, the start of the engine.
    pub call_us: u64,
    /// Each block of a MAC, beside it.
    pub block_us: u64,
    /// What is written to the SHE's flash, beside it.
    pub write_us: u64,
}

impl Latency {
    /// An assumption, on the slow side: a driver that waits for an interrupt at each command. No SHE was measured.
    pub const SLOW: Self = Self { call_us: 60, block_us: 10, write_us: 20_000 };
}

/// The key in RAM.
struct RamKey {
    key: Block,
    /// Loaded as plain text: it may be exported.
    plain: bool,
}

impl Drop for RamKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The device. No `Debug`, and no way to get at a key but [`Self::export_ram_key`], wrapped.
pub struct She {
    uid: Uid,
    secret: Block,
    memory: Memory,
    ram: Option<RamKey>,
    /// In flash: what the next seed is made of.
    seed: Block,
    /// In RAM: empty until the generator was started.
    state: Option<Block>,
    booted: bool,
    debugged: bool,
    latency: Latency,
    elapsed_us: u64,
}

impl She {
    /// As it comes from its maker: a number and a secret of its own, all slots empty.
    #[must_use]
    pub fn new(uid: Uid, secret: Block, latency: Latency) -> Self {
        Self {
            uid,
            secret,
            memory: Memory::default(),
            ram: None,
            seed: derive(&secret, &secret),
            state: None,
            booted: true,
            debugged: false,
            latency,
            elapsed_us: 0,
        }
    }

    /// A start: what is in RAM is lost. `booted`: whether the secure boot found the firmware it expects.
    pub fn reset(&mut self, booted: bool) {
        (self.ram, self.state, self.booted, self.debugged) = (None, None, booted, false);
    }

    /// A debugger is attached, until the next start.
    pub const fn attach_debugger(&mut self) {
        self.debugged = true;
    }

    /// What all commands since the last question have taken, µs.
    pub const fn elapsed_us(&mut self) -> u64 {
        std::mem::replace(&mut self.elapsed_us, 0)
    }

    const fn spend(&mut self, blocks: usize) {
        self.elapsed_us += self.latency.call_us + self.latency.block_us * blocks as u64;
    }

    /// CMD_LOAD_KEY: the memory update protocol (4.9). The proof says that this device has the key now; only who knows the key can check it.
    ///
    /// # Errors
    /// [`Error::KeyInvalid`]: such a key does not authorise for such a slot. [`Error::KeyEmpty`], [`Error::KeyNotAvailable`]: of the one that
    /// authorises. [`Error::KeyWriteProtected`], [`Error::KeyUpdate`].
    pub fn load_key(&mut self, update: &Update) -> Result<Proof, Error> {
        self.spend(12);
        let (uid, slot, auth) = unpack(&update.m1);
        let auth_key = self.authorising(slot, auth)?;
        if !bool::from(update.mac(&derive(&auth_key, &KEY_UPDATE_MAC_C)).ct_eq(&update.m3)) {
            return Err(Error::KeyUpdate);
        }
        let (no_wildcard, write_protected, known) = self.memory.guard(slot);
        if write_protected {
            return Err(Error::KeyWriteProtected);
        }
        if uid != self.uid && (no_wildcard || uid != [0; 15]) {
            return Err(Error::KeyUpdate);
        }
        let [head, mut key] = decrypt_cbc(&derive(&auth_key, &KEY_UPDATE_ENC_C), &update.m2);
        let (counter, flags) = Flags::unpack(&head);
        let proof = Proof::new(&self.uid, slot, auth, counter, &key);
        if slot == Slot::RAM {
            self.ram = Some(RamKey { key, plain: false });
        } else if counter > known {
            self.elapsed_us += self.latency.write_us;
            self.memory.write(slot, Stored { key, counter, flags });
        } else {
            key.zeroize();
            return Err(Error::KeyUpdate);
        }
        key.zeroize();
        Ok(proof)
    }

    /// The key that authorises an update. An empty slot authorises its own first key by ones, as erased flash has them.
    fn authorising(&self, slot: Slot, auth: Slot) -> Result<Block, Error> {
        if !auth.authorises(slot) {
            return Err(Error::KeyInvalid);
        }
        if auth == Slot::SECRET {
            return Ok(self.secret);
        }
        match self.available(auth) {
            Ok(stored) => Ok(stored.key),
            Err(Error::KeyEmpty) if auth == slot => Ok([0xFF; 16]),
            Err(error) => Err(error),
        }
    }

    fn available(&self, slot: Slot) -> Result<&Stored, Error> {
        let stored = self.memory.read(slot).ok_or(Error::KeyEmpty)?;
        let locked = stored.flags.boot_protected && !self.booted || stored.flags.debugger_protected && self.debugged;
        if locked { Err(Error::KeyNotAvailable) } else { Ok(stored) }
    }

    /// CMD_LOAD_PLAIN_KEY: into RAM.
    pub fn load_plain_key(&mut self, key: &Block) {
        self.spend(0);
        self.ram = Some(RamKey { key: *key, plain: true });
    }

    /// CMD_EXPORT_RAM_KEY: so that this device, and no other, can load it again.
    ///
    /// # Errors
    /// [`Error::KeyEmpty`]; [`Error::KeyInvalid`]: it was not loaded as plain text.
    pub fn export_ram_key(&mut self) -> Result<(Update, Proof), Error> {
        self.spend(12);
        let ram = self.ram.as_ref().ok_or(Error::KeyEmpty)?;
        if !ram.plain {
            return Err(Error::KeyInvalid);
        }
        let update = Update::new(&self.uid, Slot::RAM, (Slot::SECRET, &self.secret), 0, Flags::NONE, &ram.key);
        Ok((update, Proof::new(&self.uid, Slot::RAM, Slot::SECRET, 0, &ram.key)))
    }

    /// The key of a slot for MACs; `makes`: to make one, not only to check one.
    fn mac_key(&self, slot: Slot, makes: bool) -> Result<Block, Error> {
        if slot == Slot::RAM {
            return self.ram.as_ref().map(|ram| ram.key).ok_or(Error::KeyEmpty);
        }
        if !slot.is_general() {
            return Err(Error::KeyInvalid);
        }
        let stored = self.available(slot)?;
        let allowed = stored.flags.for_macs && !(makes && stored.flags.verify_only);
        if allowed { Ok(stored.key) } else { Err(Error::KeyInvalid) }
    }

    /// CMD_GENERATE_MAC: AES-CMAC, 128 bits.
    ///
    /// # Errors
    /// [`Error::KeyEmpty`], [`Error::KeyInvalid`]: not for MACs, or only to verify them; [`Error::KeyNotAvailable`].
    pub fn generate_mac(&mut self, slot: Slot, message: &[u8]) -> Result<Block, Error> {
        self.spend(message.len().div_ceil(16));
        Ok(cmac(&self.mac_key(slot, true)?, message))
    }

    /// CMD_VERIFY_MAC: whether the first `bits` of `mac` are right; 0 stands for all 128.
    ///
    /// # Errors
    /// As [`Self::generate_mac`], but a key that only verifies will do. [`Error::General`]: more than 128 bits.
    pub fn verify_mac(&mut self, slot: Slot, message: &[u8], mac: &Block, bits: u8) -> Result<bool, Error> {
        self.spend(message.len().div_ceil(16));
        let bits = match bits {
            0 => 128,
            1..=128 => u32::from(bits),
            _ => return Err(Error::General),
        };
        let made = cmac(&self.mac_key(slot, false)?, message);
        let first = |mac: &Block| (u128::from_be_bytes(*mac) >> (128 - bits)).to_be_bytes();
        Ok(first(&made).ct_eq(&first(mac)).into())
    }

    /// CMD_INIT_RNG: once after each start.
    pub fn init_rng(&mut self) {
        self.spend(2);
        self.elapsed_us += self.latency.write_us;
        self.seed = encrypt(&derive(&self.secret, &PRNG_SEED_KEY_C), &self.seed);
        self.state = Some(self.seed);
    }

    /// CMD_RND.
    ///
    /// # Errors
    /// [`Error::RngSeed`]: before CMD_INIT_RNG.
    pub fn random(&mut self) -> Result<Block, Error> {
        self.spend(1);
        let state = encrypt(&derive(&self.secret, &PRNG_KEY_C), self.state.as_ref().ok_or(Error::RngSeed)?);
        Ok(*self.state.insert(state))
    }

    /// CMD_GET_ID: its number, its status register, and a MAC by MASTER_ECU_KEY over challenge and both, zero without that key.
    pub fn get_id(&mut self, challenge: &Block) -> (Uid, u8, Block) {
        self.spend(2);
        // BOOT_FINISHED and BOOT_OK, RND_INIT, EXT_DEBUGGER
        let status =
            if self.booted { 0x18 } else { 0x08 } | u8::from(self.state.is_some()) << 5 | u8::from(self.debugged) << 6;
        let mut told = [0; 32];
        told[..16].copy_from_slice(challenge);
        told[16..31].copy_from_slice(&self.uid);
        told[31] = status;
        let mac = self.available(Slot::MASTER_ECU).map_or([0; 16], |stored| cmac(&stored.key, &told));
        (self.uid, status, mac)
    }
}

impl Drop for She {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.seed.zeroize();
        self.state.zeroize();
    }
}

#[cfg(test)]
mod tests;
