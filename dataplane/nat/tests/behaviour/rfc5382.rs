//! RFC 5382 and RFC 7857 §2: what a NAT does with TCP.

use crate::support::*;
use nat::{FilteringBehavior, Inbound, OpenError, Space, TcpPhase, TrackDrop};
use wire::{Endpoint, Protocol};

fn phase(w: &mut World, from: Endpoint, to: Endpoint) -> Option<TcpPhase> {
    w.session(&tuple(Protocol::TCP, from, to)).tcp
}

const X: fn() -> Endpoint = || inside(1, 5000);
const Y: fn() -> Endpoint = || remote(1, 80);

#[test]
fn req1_a_tcp_mapping_is_endpoint_independent() {
    let mut w = World::new();
    let x = w.tcp(X(), Y(), SYN, 1, 0);
    assert_eq!(w.tcp(X(), remote(2, 443), SYN, 1, 0), x);
    drain(&mut w);
}

#[test]
fn req2_a_three_way_handshake_establishes() {
    let mut w = World::new();
    let x = w.tcp(X(), Y(), SYN, 1000, 0);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Opening));
    w.tcp_in(Y(), x, SYN | ACK, 5000, 1001);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Opening));
    w.tcp(X(), Y(), ACK, 1001, 5001);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Established));
    drain(&mut w);
}

#[test]
fn req2_both_ends_may_open_at_once() {
    let mut w = World::new();
    let x = w.tcp(X(), Y(), SYN, 1000, 0);
    assert_eq!(w.tcp_in(Y(), x, SYN, 5000, 0), Came::In(X()));
    w.tcp(X(), Y(), SYN | ACK, 1000, 5001);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Opening));
    w.tcp_in(Y(), x, SYN | ACK, 5000, 1001);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Established));
    drain(&mut w);
}

#[test]
fn req2_a_half_closed_connection_stays_established_until_the_other_end_closes() {
    let mut w = World::new();
    let x = w.handshake(X(), Y());
    w.tcp(X(), Y(), FIN | ACK, 1001, 5001);
    w.tcp_in(Y(), x, ACK, 5001, 1002);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Established));
    w.tcp_in(Y(), x, FIN | ACK, 5001, 1002);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Closing));
    w.tcp(X(), Y(), ACK, 1002, 5002);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Closed));
    drain(&mut w);
}

#[test]
fn req2_a_syn_on_a_closed_session_reopens_it_on_the_same_mapping() {
    let mut w = World::new();
    let x = w.handshake(X(), Y());
    w.close(X(), Y(), x);
    assert_eq!(w.tcp(X(), Y(), SYN, 90_000, 0), x);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Opening));
    w.tcp_in(Y(), x, SYN | ACK, 70_000, 90_001);
    w.tcp(X(), Y(), ACK, 90_001, 70_001);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Established));
    assert_eq!(w.nat.counts().sessions, 1);
    drain(&mut w);
}

#[test]
fn req3_filtering_of_tcp_is_that_of_udp() {
    let mut w = World::new();
    w.filtering = FilteringBehavior::EndpointIndependent;
    let x = w.tcp(X(), Y(), SYN, 1000, 0);
    assert_eq!(w.tcp_in(remote(9, 9), x, SYN, 1, 0), Came::In(X()));
    assert_eq!(w.tcp_in(remote(8, 8), x, ACK, 1, 0), Came::Not(Inbound::Refused(OpenError::TcpNotSyn)));
    drain(&mut w);
}

#[test]
fn req4_an_unsolicited_syn_is_answered_after_six_seconds() {
    let mut w = World::new();
    let x = w.tcp(X(), Y(), SYN, 1000, 0);
    let syn = Packet::tcp(remote(9, 9), x, SYN, 1, 0);
    assert_eq!(w.comes(&syn), Came::Not(Inbound::HoldSyn));
    assert_eq!(w.nat.counts().held_syns, 1);
    w.pass_ticks(30);
    assert_eq!(w.comes(&syn), Came::Not(Inbound::HoldSyn), "a second one is the same one");
    w.pass_ticks(29);
    assert_eq!(w.nat.due_syn(w.now), None);
    w.pass_ticks(1);
    let held = w.nat.due_syn(w.now).unwrap();
    assert_eq!(held.tuple, syn.tuple());
    assert_eq!(held.packet, wire::PacketBuf::bytes(&syn.buf).get(14..).unwrap());
    assert_eq!(w.nat.due_syn(w.now), None);
    assert_eq!(w.nat.counts().held_syns, 0);
}

#[test]
fn req4_an_outbound_syn_that_crosses_an_unsolicited_one_silences_it() {
    let mut w = World::new();
    let x = w.tcp(X(), Y(), SYN, 1000, 0);
    assert_eq!(w.tcp_in(remote(9, 9), x, SYN, 5000, 0), Came::Not(Inbound::HoldSyn));
    assert_eq!(w.tcp(X(), remote(9, 9), SYN, 1000, 0), x);
    assert_eq!(w.nat.counts().held_syns, 0);
    w.pass(6);
    assert_eq!(w.nat.due_syn(w.now), None);
    // It comes again and opens from both ends.
    assert_eq!(w.tcp_in(remote(9, 9), x, SYN, 5000, 0), Came::In(X()));
}

#[test]
fn req4_the_bound_on_held_syns_holds_and_recovers() {
    let mut w = World::new();
    let x = Endpoint::new(outside(1), 2000);
    for port in 0..2000 {
        assert_eq!(w.tcp_in(remote(9, port), x, SYN, 1, 0), Came::Not(Inbound::HoldSyn));
    }
    assert_eq!(w.nat.counts().held_syns, 1024);
    w.pass(6);
    let mut answered = 0;
    while w.nat.due_syn(w.now).is_some() {
        answered += 1;
    }
    assert_eq!((answered, w.nat.counts().held_syns), (1024, 0));
    assert_eq!(w.tcp_in(remote(9, 1), x, SYN, 1, 0), Came::Not(Inbound::HoldSyn));
    assert_eq!(w.nat.counts().held_syns, 1);
}

#[test]
fn req5_an_established_session_lives_two_hours_and_four_minutes() {
    let mut w = World::new();
    w.handshake(X(), Y());
    let key = tuple(Protocol::TCP, X(), Y());
    w.pass_ticks(74_399);
    assert!(w.alive(&key));
    w.pass_ticks(1);
    assert!(!w.alive(&key));
    drain(&mut w);
}

#[test]
fn rfc7857_2_1_opening_and_closing_sessions_live_four_minutes() {
    let mut w = World::new();
    let key = tuple(Protocol::TCP, X(), Y());
    w.tcp(X(), Y(), SYN, 1, 0);
    w.pass_ticks(2399);
    assert!(w.alive(&key));
    w.pass_ticks(1);
    assert!(!w.alive(&key));
    let x = w.handshake(X(), Y());
    w.pass(1000);
    w.close(X(), Y(), x);
    w.pass_ticks(2399);
    assert!(w.alive(&key));
    w.pass_ticks(1);
    assert_eq!(w.nat.counts().sessions, 0);
}

#[test]
fn rfc7857_2_2_a_rst_in_the_window_closes_and_another_changes_nothing() {
    let mut w = World::new();
    let x = w.handshake(X(), Y());
    let before = w.session(&tuple(Protocol::TCP, X(), Y()));
    w.pass(10);
    // The window is 1,000 from 5,001 on.
    for seq in [5000, 6002, 0, 0x8000_0000] {
        assert_eq!(w.tcp_in(Y(), x, RST, seq, 0), Came::In(X()));
    }
    w.tcp(X(), Y(), RST, 1000, 0);
    let after = w.session(&tuple(Protocol::TCP, X(), Y()));
    assert_eq!((after.tcp, after.deadline), (before.tcp, before.deadline));
    w.tcp_in(Y(), x, RST, 6001, 0);
    let closed = w.session(&tuple(Protocol::TCP, X(), Y()));
    assert_eq!(closed.tcp, Some(TcpPhase::Closed));
    assert_eq!(closed.deadline.0, w.now.0 + 2400);
    drain(&mut w);
}

#[test]
fn rfc7857_2_2_a_refused_connection_closes_its_session() {
    let mut w = World::new();
    let x = w.tcp(X(), Y(), SYN, 1000, 0);
    w.tcp_in(Y(), x, RST | ACK, 0, 777);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Opening), "it acknowledges nothing that was sent");
    w.tcp_in(Y(), x, RST | ACK, 0, 1001);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Closed));
    drain(&mut w);
}

#[test]
fn req10_nothing_but_the_ends_ends_a_session() {
    // ICMP errors: RFC 5382 REQ-10; see also rfc4787.rs, req12.
    let mut w = World::new();
    let x = w.handshake(X(), Y());
    // A FIN out of the window, a SYN, data out of the window.
    w.tcp_in(Y(), x, FIN | ACK, 9_999_999, 1001);
    w.tcp_in(Y(), x, SYN, 1, 0);
    w.tcp(X(), Y(), FIN | ACK, 1001, 5001);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Established));
    drain(&mut w);
}

#[test]
fn mid_stream_packets_open_nothing_unless_adopted() {
    let mut w = World::new();
    assert_eq!(w.open(&Packet::tcp(X(), Y(), ACK, 1, 1)), Err(OpenError::TcpNotSyn));
    assert_eq!(w.open(&Packet::tcp(X(), Y(), SYN | ACK, 1, 1)), Err(OpenError::TcpNotSyn));
    let packet = Packet::tcp(X(), Y(), ACK, 777, 888);
    let pool = w.pool.clone();
    let open = nat::OpenEgress {
        tuple: packet.tuple(),
        tcp: packet.flags(),
        adopt: true,
        action: nat::Action::Snat {
            pool: &pool,
            mapping: w.mapping,
            filtering: w.filtering,
            pooling: w.pooling,
            udp: None,
        },
        notes: nat::Notes::default(),
    };
    let id = w.nat.open_egress(&open, w.now, 0).unwrap();
    w.track(nat::Hit::original(id), &packet).unwrap();
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Established));
    // From here on its RSTs are checked as any other's.
    let x = w.nat.session(id).unwrap().reply.destination;
    w.tcp_in(Y(), x, RST, 887, 0);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Established));
    w.tcp_in(Y(), x, RST, 888, 0);
    assert_eq!(phase(&mut w, X(), Y()), Some(TcpPhase::Closed));
    drain(&mut w);
}

#[test]
fn flags_that_no_tcp_sends_are_refused() {
    let mut w = World::new();
    w.handshake(X(), Y());
    let hit = w.nat.lookup(Space::Egress, &tuple(Protocol::TCP, X(), Y()), w.now).unwrap();
    for flags in [0, SYN | FIN, SYN | RST, FIN, FIN | RST, FIN | RST | ACK, SYN | FIN | ACK] {
        let packet = Packet::tcp(X(), Y(), flags, 1001, 5001);
        assert_eq!(w.track(hit, &packet), Err(TrackDrop::TcpInvalid), "{flags}");
        assert!(w.open(&Packet::tcp(inside(1, 6), Y(), flags, 1, 0)).is_err());
    }
    drain(&mut w);
}
