//! What sessions of protocols without ports hold: an outside address as a whole, towards one remote.

use crate::wheel::NIL;

/// Of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portless {
    /// Number of the outside address; of a free place the next free one.
    pub(crate) slot: u32,
    pub(crate) subscriber: u32,
}

/// They are few: a list that grows as needed.
pub(crate) struct PortlessSessions {
    all: Vec<Portless>,
    free: u32,
}

impl PortlessSessions {
    pub(crate) const fn new() -> Self {
        PortlessSessions { all: Vec::new(), free: NIL }
    }

    pub(crate) fn get(&self, number: u32) -> Option<Portless> {
        self.all.get(number as usize).copied().filter(|p| p.subscriber != NIL)
    }

    pub(crate) fn add(&mut self, portless: Portless) -> u32 {
        let number = self.free;
        match self.all.get_mut(number as usize) {
            Some(place) if number != NIL => {
                self.free = place.slot;
                *place = portless;
                number
            }
            _ => {
                self.all.push(portless);
                (self.all.len() - 1) as u32
            }
        }
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(place) = self.all.get_mut(number as usize) {
            *place = Portless { slot: self.free, subscriber: NIL };
            self.free = number;
        }
    }
}
