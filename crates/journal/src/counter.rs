/// A number that never goes back, kept outside the flash: a TPM or RPMB counter, or what models one.
///
/// It tells a journal that ends early from one that was never longer.
pub trait Counter {
    /// What may go wrong below.
    type Error;

    /// The highest number ever [raised](Counter::raise) to; 0 at first.
    fn value(&self) -> u64;

    /// Raises the number to `to`, durable on return. A number that is not higher changes nothing.
    ///
    /// # Errors
    /// The device failed; the number is then the old one or `to`.
    fn raise(&mut self, to: u64) -> Result<(), Self::Error>;
}

impl<C: Counter> Counter for &mut C {
    type Error = C::Error;

    fn value(&self) -> u64 {
        (**self).value()
    }

    fn raise(&mut self, to: u64) -> Result<(), Self::Error> {
        (**self).raise(to)
    }
}
