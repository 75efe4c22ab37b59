//! Idle times by number: a session's hot line names its timer in 13 bits.

use mem::plain_struct;
use wire::Protocol;

use crate::units::{Ticks, Timeouts};
use crate::view::TcpPhase;

/// Which idle time of its profile a session has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    Udp,
    TcpOpening,
    TcpEstablished,
    TcpClosing,
    Icmp,
    Other,
}

impl Idle {
    pub(crate) const fn of_phase(phase: TcpPhase) -> Self {
        match phase {
            TcpPhase::Opening => Idle::TcpOpening,
            TcpPhase::Established => Idle::TcpEstablished,
            TcpPhase::Closing | TcpPhase::Closed => Idle::TcpClosing,
        }
    }

    /// Of a new session.
    pub(crate) const fn of_protocol(protocol: Protocol) -> Self {
        match protocol {
            Protocol::TCP => Idle::TcpOpening,
            Protocol::UDP => Idle::Udp,
            Protocol::ICMP => Idle::Icmp,
            _ => Idle::Other,
        }
    }
}

const CLASSES: usize = 8;
/// Profiles in use at once.
const PROFILES: usize = 1024;

/// `profile << 3 | class`, and in the highest bit whether the session's counters carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimerClass {
    bits: u16,
}

plain_struct!(TimerClass { bits: u16 });

impl TimerClass {
    const CARRIED: u16 = 1 << 15;

    #[inline]
    pub(crate) const fn carried(self) -> bool {
        self.bits & Self::CARRIED != 0
    }

    #[inline]
    pub(crate) const fn set_carried(&mut self) {
        self.bits |= Self::CARRIED;
    }

    pub(crate) const fn new(profile: Profile, idle: Idle) -> Self {
        TimerClass { bits: profile.0 << 3 | idle as u16 }
    }

    pub(crate) const fn with(self, idle: Idle) -> Self {
        TimerClass { bits: self.bits & !7 | idle as u16 }
    }

    pub(crate) const fn profile(self) -> Profile {
        Profile((self.bits & !Self::CARRIED) >> 3)
    }
}

/// Number of a set of timeouts in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile(u16);

/// Sets of timeouts that sessions refer to, each kept while one does.
pub(crate) struct Profiles {
    /// By [`TimerClass`].
    spans: Box<[u32; PROFILES * CLASSES]>,
    users: Vec<(Timeouts, u32)>,
}

impl Profiles {
    pub(crate) fn new() -> Self {
        Profiles { spans: Box::new([0; PROFILES * CLASSES]), users: Vec::with_capacity(PROFILES) }
    }

    /// The number of this set, for one more session. `None` when too many are in use.
    pub(crate) fn enter(&mut self, timeouts: &Timeouts) -> Option<Profile> {
        let known = self.users.iter().position(|(t, users)| *users > 0 && t == timeouts);
        let at = match known.or_else(|| self.users.iter().position(|(_, users)| *users == 0)) {
            Some(at) => at,
            None if self.users.len() < PROFILES => {
                self.users.push((*timeouts, 0));
                self.users.len() - 1
            }
            None => return None,
        };
        let (held, users) = self.users.get_mut(at)?;
        if known.is_none() {
            *held = *timeouts;
            let t = timeouts;
            let spans = [t.udp, t.tcp_opening, t.tcp_established, t.tcp_closing, t.icmp, t.other];
            for (span, ticks) in self.spans.iter_mut().skip(at * CLASSES).zip(spans) {
                *span = ticks.0;
            }
        }
        *users = users.saturating_add(1);
        Some(Profile(at as u16))
    }

    /// One session fewer refers to it.
    pub(crate) fn leave(&mut self, profile: Profile) {
        if let Some((_, users)) = self.users.get_mut(usize::from(profile.0)) {
            *users = users.saturating_sub(1);
        }
    }

    #[inline]
    pub(crate) fn span(&self, timer: TimerClass) -> Ticks {
        // Every number there is lies within: the compiler sees it, and no check is left.
        Ticks(self.spans[usize::from(timer.bits) % (PROFILES * CLASSES)])
    }
}
