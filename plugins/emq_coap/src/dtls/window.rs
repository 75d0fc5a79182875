//! Records that have come (RFC 6347, 4.1.2.6): none is taken twice.

/// The newest number, and which of the 64 up to it have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    newest: u64,
    come: u64,
}

impl Window {
    /// One record has come.
    pub fn after(number: u64) -> Window {
        Window {
            newest: number,
            come: 1,
        }
    }

    /// Whether the record may still come.
    pub fn is_new(&self, number: u64) -> bool {
        match self.newest.checked_sub(number) {
            None => true,
            Some(back) => back < 64 && self.come >> back & 1 == 0,
        }
    }

    /// It has come, and is what it says.
    pub fn mark(&mut self, number: u64) {
        match self.newest.checked_sub(number) {
            None => {
                let ahead = number - self.newest;
                self.come = if ahead < 64 {
                    self.come << ahead | 1
                } else {
                    1
                };
                self.newest = number;
            }
            Some(back) if back < 64 => self.come |= 1 << back,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_once() {
        let mut window = Window::after(5);
        assert!(!window.is_new(5) && window.is_new(4) && window.is_new(6) && window.is_new(500));
        window.mark(7);
        assert!(!window.is_new(7) && !window.is_new(5) && window.is_new(6));
        window.mark(6);
        assert!(!window.is_new(6));
        window.mark(70);
        assert!(!window.is_new(7) && window.is_new(8) && !window.is_new(6));
        window.mark(1000);
        assert!(
            !window.is_new(70) && window.is_new(999) && !window.is_new(936) && window.is_new(937)
        );
        window.mark(70);
        assert!(!window.is_new(1000) && window.is_new(999));
    }
}
