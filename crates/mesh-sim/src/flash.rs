//! Flash and counter of a simulated ECU: they outlive a crash of whoever uses them.

use std::cell::RefCell;
use std::rc::Rc;

use journal::part::Part;
use journal::{Counter, Flash, Geometry, MemCounter, MemError, MemFlash};

/// A flash that several owners hold.
#[derive(Clone)]
pub struct SharedFlash(pub Rc<RefCell<MemFlash>>);

/// A monotonic counter that several owners hold.
#[derive(Clone, Default)]
pub struct SharedCounter(pub Rc<RefCell<MemCounter>>);

impl SharedFlash {
    /// An erased flash.
    #[must_use]
    pub fn new(part: Part) -> Self {
        Self(Rc::new(RefCell::new(MemFlash::of(part))))
    }

    /// Puts back an image, or erases everything.
    pub fn restore(&self, image: Option<Vec<u8>>) {
        let image = image.unwrap_or_else(|| vec![0xFF; self.geometry().capacity as usize]);
        self.0.borrow_mut().restore(image);
    }

    /// All bytes as they are.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.0.borrow().image().to_vec()
    }
}

impl Flash for SharedFlash {
    type Error = MemError;

    fn geometry(&self) -> Geometry {
        self.0.borrow().geometry()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemError> {
        self.0.borrow_mut().read(offset, bytes)
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemError> {
        self.0.borrow_mut().program(offset, bytes)
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), MemError> {
        self.0.borrow_mut().erase(offset, length)
    }

    fn sync(&mut self) -> Result<(), MemError> {
        self.0.borrow_mut().sync()
    }
}

impl Counter for SharedCounter {
    type Error = MemError;

    fn value(&self) -> u64 {
        self.0.borrow().value()
    }

    fn raise(&mut self, to: u64) -> Result<(), MemError> {
        self.0.borrow_mut().raise(to)
    }
}
