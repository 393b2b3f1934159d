//! A pairwise key that moves on (DC-23, DC-24): what one side knows of it, and each step that it may take.
//!
//! The two sides never take a step at the same instant, and either may lose power between any two of them. What holds
//! whatever happens is that one side's key is the other's, or the one after it: the tests walk through the orders.

use crate::flaw::Flaw;
use crate::hash::{Domain, hash};
use crate::mac::Key;
use crate::sign::{SigningKey, agree};
use crate::types::{Height, PublicKey, ValidatorIndex};

/// Bytes of a [`Pair`] as a key store keeps it.
pub const PAIR_BYTES: usize = 32 + 32 + 4 + 1;
/// Flags of its last byte.
const HAS_SECRET: u8 = 1;
const IS_OFFERED: u8 = 2;

/// What checking a HELLO's tag said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// No key of this pair made the tag.
    No,
    /// The key of this side did.
    Same,
    /// The key after it did: the peer was a step ahead, and this side has followed.
    Ahead,
}

/// A pairwise key. No `Debug`; wiped on drop and when it is replaced.
#[derive(Clone)]
pub struct Pair {
    key: Key,
    /// The secret of the newest refresh that is not in the key yet.
    secret: Option<Key>,
    /// The height that decided it, or the one whose secret is in the key.
    refreshed: Height,
    /// The peer may have the key with the secret in it, so that this side must not lose the secret.
    offered: bool,
}

impl Pair {
    /// A key as it was loaded.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self { key, secret: None, refreshed: 0, offered: false }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Takes one step that cannot be taken back (DC-23). Not while a refresh is offered: the peer may step by that.
    pub fn step(&mut self) -> bool {
        let may = !self.offered && !Flaw::KeysStay.is_at_work();
        if may {
            self.key = self.key.after();
        }
        may
    }

    /// Checks a HELLO, and follows a peer that is a step ahead. It is one step at most, so that a forged HELLO costs two tags more.
    pub fn heard(&mut self, is_its: impl Fn(&Key) -> bool) -> Heard {
        if is_its(&self.key) {
            return Heard::Same;
        }
        let after = self.key.after();
        if is_its(&after) {
            (self.key, self.offered) = (after, false);
            return Heard::Ahead;
        }
        if self.offered && self.next().is_some_and(|next| is_its(&next)) {
            self.renew();
            return Heard::Ahead;
        }
        Heard::No
    }

    /// Whether the secret of the refresh that was decided at `height` is missing here.
    #[must_use]
    pub const fn wants(&self, height: Height) -> bool {
        height > self.refreshed && !self.offered
    }

    /// Takes it; an older one that was never offered gives way.
    pub fn take(&mut self, height: Height, secret: Key) -> bool {
        let wanted = self.wants(height);
        if wanted {
            (self.secret, self.refreshed) = (Some(secret), height);
        }
        wanted
    }

    /// Whether there is a secret to be offered.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether it may have been offered.
    #[must_use]
    pub const fn is_offered(&self) -> bool {
        self.offered
    }

    /// From now on the secret stays until the peer has shown what it made of it. To be durable before the offer is made.
    pub const fn offer(&mut self) {
        self.offered = self.secret.is_some();
    }

    /// The key with the secret of the refresh in it (DC-24).
    #[must_use]
    pub fn next(&self) -> Option<Key> {
        self.secret.as_ref().map(|secret| self.key.mixed(secret))
    }

    /// The peer has proved to have that key.
    pub fn renew(&mut self) {
        if let Some(next) = self.next() {
            (self.key, self.secret, self.offered) = (next, None, false);
        }
    }

    /// The peer has proved in a new session that its key is this one: no offer of an earlier session has reached it, nor ever will.
    pub const fn met(&mut self) {
        self.offered = false;
    }

    /// For a key store that keeps it.
    pub fn write(&self, to: &mut [u8; PAIR_BYTES]) {
        self.key.export_to(|key| to[..32].copy_from_slice(key));
        to[32..64].fill(0);
        if let Some(secret) = &self.secret {
            secret.export_to(|secret| to[32..64].copy_from_slice(secret));
        }
        to[64..68].copy_from_slice(&self.refreshed.to_le_bytes());
        to[68] = u8::from(self.secret.is_some()) * HAS_SECRET + u8::from(self.offered) * IS_OFFERED;
    }

    /// The same read; `None` if it is none.
    #[must_use]
    pub fn read(from: &[u8; PAIR_BYTES]) -> Option<Self> {
        let (key, rest) = from.split_first_chunk()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let (refreshed, flags) = rest.split_first_chunk()?;
        let flags = *flags.first().filter(|flags| matches!(flags, 0 | 1 | 3))?;
        Some(Self {
            key: Key::new(*key),
            secret: (flags & HAS_SECRET != 0).then(|| Key::new(*secret)),
            refreshed: Height::from_le_bytes(*refreshed),
            offered: flags & IS_OFFERED != 0,
        })
    }
}

/// An X25519 key pair (RFC 7748) for one refresh. `Debug` shows the public half only; the secret is wiped on drop.
#[derive(Clone)]
pub struct Ephemeral {
    pub(crate) secret: Key,
    pub(crate) public: [u8; 32],
}

impl Ephemeral {
    /// From 32 random bytes. It takes as long as a signature.
    #[must_use]
    pub fn from_random(secret: [u8; 32]) -> Self {
        let secret = Key::new(secret);
        let public = secret.export_to(crate::sign::public_half);
        Self { secret, public }
    }
}

impl core::fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Ephemeral").field(&self.public).finish()
    }
}

/// A secret to be worked out, where asymmetric work may take its time. Its `Debug` tells no secret.
#[derive(Clone)]
pub struct Agreement {
    pub(crate) peer: ValidatorIndex,
    pub(crate) height: Height,
    /// The public key of the refresh.
    pub(crate) public: [u8; 32],
    /// Its secret half, if the refresh is this node's own.
    pub(crate) own: Option<Key>,
}

impl Agreement {
    /// With whom.
    #[must_use]
    pub const fn peer(&self) -> ValidatorIndex {
        self.peer
    }

    /// Does it, with this node's identity and the peer's as the genesis names it. It takes as long as a signature.
    #[must_use]
    pub fn run(&self, identity: &SigningKey, peer: &PublicKey) -> Agreed {
        let shared = match &self.own {
            Some(secret) => secret.export_to(|secret| agree(secret, peer)),
            None => identity.agree(&self.public),
        };
        let secret = shared.map(|shared| {
            let shared = if Flaw::NothingShared.is_at_work() { &Key::new([0; 32]) } else { &shared };
            shared.export_to(|shared| Key::new(hash(Domain::Refresh, &[shared, &self.public]).0))
        });
        Agreed { peer: self.peer, height: self.height, secret }
    }

    /// The answer of who has no time for it: it is asked for again.
    #[must_use]
    pub const fn put_off(&self) -> Agreed {
        Agreed { peer: self.peer, height: self.height, secret: None }
    }
}

impl core::fmt::Debug for Agreement {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Agreement(with {}, height {})", self.peer, self.height)
    }
}

/// What an [`Agreement`] came to. Its `Debug` tells no secret.
#[derive(Clone)]
pub struct Agreed {
    pub(crate) peer: ValidatorIndex,
    pub(crate) height: Height,
    /// `None` if there was no time, or the public key is weak.
    pub(crate) secret: Option<Key>,
}

impl core::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Agreed(with {}, height {})", self.peer, self.height)
    }
}

#[cfg(test)]
mod tests;
