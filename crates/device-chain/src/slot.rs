//! An `Option` that is all zeros when it is empty.

/// Room for a `T`. The compiler may mark an empty `Option` by any number that no `T` has; here it is zero, so that memory
/// which is zero when the power comes holds empty slots (`Validator::new`).
#[derive(Clone, Copy, Debug, Default)]
#[repr(u8)]
pub enum Slot<T> {
    /// Nothing.
    #[default]
    Empty = 0,
    /// A value.
    Full(T) = 1,
}

impl<T> Slot<T> {
    /// What is in it.
    pub const fn get(&self) -> Option<&T> {
        match self {
            Self::Empty => None,
            Self::Full(value) => Some(value),
        }
    }

    /// What is in it, to be changed.
    pub const fn get_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Empty => None,
            Self::Full(value) => Some(value),
        }
    }

    /// Takes out what is in it.
    pub fn take(&mut self) -> Option<T> {
        match core::mem::take(self) {
            Self::Empty => None,
            Self::Full(value) => Some(value),
        }
    }

    /// Takes out what is in it if that is so.
    pub fn take_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.get().is_some_and(condition) { self.take() } else { None }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        *self = Self::Empty;
    }
}

impl<T> From<Option<T>> for Slot<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Self::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_once() {
        let mut slot = Slot::Full(7);
        assert_eq!(slot.take_if(|value| *value == 8), None);
        slot.get_mut().into_iter().for_each(|value| *value = 8);
        assert_eq!((slot.take_if(|value| *value == 8), slot.take(), slot.get()), (Some(8), None, None));
        assert_eq!((Slot::from(Some(1)).take(), Slot::<u8>::from(None).take()), (Some(1), None));
    }
}
