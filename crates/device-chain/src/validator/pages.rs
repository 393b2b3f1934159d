//! Pages of the registry that are missing after a state was taken over: asked for one by one, each checked against the root
//! to which the state commits. `docs/protocol.md` DC-48.

use super::Validator;
use super::outbox::Message;
use super::sync::VALUE_PHASES;
use crate::entry::root_of;
use crate::keys::KeyStore;
use crate::limits::{MAX_PAGES, MAX_VALIDATORS};
use crate::types::{Hash, Micros, ValidatorIndex};
use crate::wire::{HEADER, Parts};

/// Bytes before the content of a page in a STATE: the roots of all pages.
const ROOTS: usize = 32 * MAX_PAGES;
const _: () = assert!(MAX_PAGES <= u8::BITS as usize, "a bit for each");
const _: () = assert!(HEADER + ROOTS + crate::limits::MAX_PAGE + crate::limits::MAX_TAG <= crate::limits::MAX_MESSAGE);

/// Asking for pages, and serving them.
pub(super) struct Pages {
    /// A bit for each page that differs, as far as is known.
    missing: u8,
    /// Who was asked last, for which page, and until when an answer is waited for.
    asked: Option<(ValidatorIndex, u8, Micros)>,
    /// When each peer was served last.
    served: [Option<Micros>; MAX_VALIDATORS],
}

impl Pages {
    pub(super) const NONE: Self = Self { missing: u8::MAX, asked: None, served: [None; MAX_VALIDATORS] };
}

impl<K: KeyStore> Validator<K> {
    /// Whether the registry is the one that the state commits to. Without it nothing is voted for and nothing decided.
    #[must_use]
    pub fn knows_registry(&self) -> bool {
        self.state.is_of(&self.registry)
    }

    /// When the next page is asked for.
    pub(super) fn pages_due(&self) -> Option<Micros> {
        let due = self.pages.asked.map_or(self.now, |(.., until)| until);
        (!self.knows_registry()).then_some(due)
    }

    /// Asks for the next page, each peer in turn.
    pub(super) fn ask_for_pages(&mut self) {
        if self.pages_due().is_none_or(|due| due > self.now) {
            return;
        }
        let (last, page) = self.pages.asked.map_or((self.me, 0), |(peer, page, _)| (peer, page));
        let (n, pages) = (self.full.n as ValidatorIndex, MAX_PAGES as u8);
        let peer = (1..=n).map(|step| (last + step) % n).find(|peer| self.is_heard(*peer));
        let page = (1..=pages).map(|step| (page + step) % pages).find(|page| self.pages.missing >> page & 1 == 1);
        let until = self.now.plus((VALUE_PHASES + 1) * self.phase_us());
        self.pages.asked = Some((peer.unwrap_or(last), page.unwrap_or(0), until));
        if let Some(peer) = peer {
            self.send(Message::AskPage(peer, page.unwrap_or(0)));
        }
    }

    /// Whose page would be taken now.
    pub(super) fn page_asked_of(&self) -> Option<ValidatorIndex> {
        let (peer, _, until) = self.pages.asked?;
        (!self.knows_registry() && self.now < until).then_some(peer)
    }

    /// A page is long: at most one in a heartbeat for each peer.
    pub(super) fn on_ask_page(&mut self, peer: ValidatorIndex, page: u8) {
        let (now, pause) = (self.now, self.heartbeat_us());
        let last = &mut self.pages.served[usize::from(peer)];
        let rested = last.is_none_or(|last| now.since(last) >= pause);
        if rested && usize::from(page) < MAX_PAGES && self.state.is_of(&self.registry) {
            *last = Some(now);
            self.send_durable(Message::Page(peer, page));
        }
    }

    /// Roots and content of a page, behind the header.
    pub(super) fn put_page(&self, page: u8, buffer: &mut [u8]) -> Option<usize> {
        let (roots, content) = buffer.get_mut(HEADER..)?.split_at_mut_checked(ROOTS)?;
        let hashes = self.registry.pages();
        roots.chunks_exact_mut(32).zip(&hashes).for_each(|(place, root)| place.copy_from_slice(&root.0));
        Some(ROOTS + self.registry.write_page(page, content)?.len())
    }

    /// A page that was asked for; its tag is checked.
    #[inline(never)]
    pub(super) fn on_page(&mut self, peer: ValidatorIndex, page: u8, parts: &Parts<'_>) {
        let is_asked = self.pages.asked.is_some_and(|(asked, wanted, _)| (asked, wanted) == (peer, page));
        let Some((roots, content)) = parts.body.split_at_checked(ROOTS) else { return };
        if !is_asked || self.page_asked_of().is_none() {
            return;
        }
        let mut hashes = [Hash::NIL; MAX_PAGES];
        hashes.iter_mut().zip(roots.chunks_exact(32)).for_each(|(hash, root)| hash.0.copy_from_slice(root));
        if root_of(&hashes) != *self.state.registry() {
            return; // of another time: the peer has changed its registry since, or lies
        }
        if let Some(root) = hashes.get(usize::from(page))
            && self.registry.read_page(page, content, Some(root))
        {
            self.persist_page(page);
        }
        let own = self.registry.pages();
        let differs = |at: &usize| own[*at] != hashes[*at];
        self.pages.missing = (0..MAX_PAGES).filter(differs).map(|at| 1 << at).sum();
        if self.knows_registry() {
            self.pages.asked = None;
            self.pages.missing = u8::MAX;
            self.leave_height(); // it was begun without knowing whose votes count
        } else if let Some((.., until)) = &mut self.pages.asked {
            *until = self.now;
        }
    }
}
