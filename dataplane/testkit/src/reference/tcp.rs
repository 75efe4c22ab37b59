//! TCP as the middle sees it, in plain fields (RFC 5382, RFC 7857 §2, RFC 9293).
//!
//! The same rules as the gateway's, written again for reading: what each side has sent and
//! acknowledged, and from that how far the connection is.

use wire::TcpSummary;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not both SYNs are acknowledged.
    Opening,
    /// Both are.
    Established,
    /// Both sides sent FIN.
    Closing,
    /// Both FINs are acknowledged, or a valid RST came.
    Closed,
}

#[derive(Clone, Copy, Debug, Default)]
struct End {
    syn: bool,
    syn_acked: bool,
    fin: bool,
    fin_acked: bool,
    /// Sequence number after the last one it sent.
    end: Option<u32>,
    /// What it acknowledged last, with which window.
    acked: Option<u32>,
    window: u32,
    /// Its SYN's window scale.
    scale: Option<u8>,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    ends: [End; 2],
    reset: bool,
}

/// Flags that some TCP sends: one or none of SYN, FIN, RST, and ACK unless SYN or RST.
pub(super) fn flags_valid(t: &TcpSummary) -> bool {
    let f = t.flags;
    let kinds = [f.syn(), f.fin(), f.rst()].iter().filter(|x| **x).count();
    kinds <= 1 && (f.ack() || f.syn() || f.rst())
}

/// `a` lies after `b` (modulo 2^32).
fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl Connection {
    /// One taken over in mid-stream: established, nothing else known, the largest scale assumed.
    pub(super) fn adopted() -> Self {
        let end = End { syn: true, syn_acked: true, scale: Some(14), ..End::default() };
        Connection { ends: [end, end], reset: false }
    }

    /// How far it is.
    pub(super) fn phase(&self) -> Phase {
        let [a, b] = &self.ends;
        if self.reset || (a.fin_acked && b.fin_acked) {
            Phase::Closed
        } else if a.fin && b.fin {
            Phase::Closing
        } else if a.syn_acked && b.syn_acked {
            Phase::Established
        } else {
            Phase::Opening
        }
    }

    fn in_window(&self, peer: usize, position: u32) -> bool {
        let p = &self.ends[peer];
        p.acked.is_some_and(|acked| position.wrapping_sub(acked) <= p.window)
    }

    /// Follows a segment of side 0 (original) or 1 (reply). False for an RST that is not valid,
    /// which counts for nothing, not even as a sign of life.
    pub(super) fn follow(&mut self, side: usize, t: &TcpSummary, scale: Option<u8>) -> bool {
        let peer = 1 - side;
        if t.flags.rst() {
            let p = &self.ends[peer];
            let valid = match p.acked {
                Some(_) => self.in_window(peer, t.seq),
                None => t.flags.ack() && p.end == Some(t.ack),
            };
            self.reset |= valid;
            return valid;
        }
        if t.flags.syn() {
            match self.phase() {
                Phase::Closed if t.flags.ack() => return true,
                Phase::Closed => *self = Connection::default(),
                Phase::Opening => {}
                _ => return true,
            }
            let me = &mut self.ends[side];
            if !me.syn_acked {
                me.syn = true;
                me.end = Some(t.seq.wrapping_add(1));
                me.scale = scale;
            }
        } else if self.phase() == Phase::Closed {
            return true;
        }
        if t.flags.ack() {
            self.acknowledge(side, peer, t);
        }
        if !t.flags.syn() {
            self.advance(side, peer, t);
        }
        true
    }

    fn acknowledge(&mut self, side: usize, peer: usize, t: &TcpSummary) {
        let scaled = !t.flags.syn() && self.ends.iter().all(|e| e.scale.is_some());
        let shift = if scaled { self.ends[side].scale.unwrap_or(0) } else { 0 };
        let p = &mut self.ends[peer];
        if !p.syn_acked {
            let Some(end) = p.end.filter(|_| p.syn) else { return };
            if t.ack.wrapping_sub(end) > 65_535 {
                return;
            }
            p.syn_acked = true;
            p.end = Some(t.ack);
        } else if p.end.is_none() {
            p.end = Some(t.ack);
        }
        let end = p.end.unwrap_or(t.ack);
        let me = &mut self.ends[side];
        if me.acked.is_some_and(|acked| after(acked, t.ack)) || after(t.ack, end) {
            return;
        }
        me.acked = Some(t.ack);
        me.window = u32::from(t.window) << shift;
        let p = &mut self.ends[peer];
        if p.fin && t.ack == end {
            p.fin_acked = true;
        }
    }

    fn advance(&mut self, side: usize, peer: usize, t: &TcpSummary) {
        if !self.ends[side].syn_acked {
            return;
        }
        let sent = t.seq.wrapping_add(t.segment_len());
        self.ends[side].end.get_or_insert(sent);
        let position = t.seq.wrapping_add(u32::from(t.payload));
        if self.ends[peer].acked.is_some() && !self.in_window(peer, position) {
            return;
        }
        let me = &mut self.ends[side];
        if me.end.is_some_and(|end| after(sent, end)) {
            me.end = Some(sent);
        }
        me.fin |= t.flags.fin();
    }
}
