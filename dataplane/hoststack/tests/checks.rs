//! Health checks against a host in memory: what it does, and what is made of it.

mod lab;

use hoststack::{Finding, HostStack, Instant, SOURCE_PORTS, Settings};
use lab::{Lab, Manner, OK, SERVER, addresses, check, distinct, http, target, udp_check};
use model::Probe;

#[test]
fn a_server_that_answers_stays_healthy_without_an_event() {
    for probe in [check(Probe::Tcp), http()] {
        let mut lab = Lab::new(probe);
        lab.run(60_000);
        assert_eq!(lab.told(), []);
        assert_eq!(lab.syn_ports.len(), 30, "one connection every 2 s");
        assert_eq!(distinct(&lab.syn_ports), 30, "a port is not used again soon");
        assert!(lab.syn_ports.iter().all(|port| SOURCE_PORTS.contains(port)));
        assert_eq!(lab.resets, 0, "connections are closed, not reset");
        assert!(lab.polls <= 30 * 6, "between packets it sleeps: {} polls", lab.polls);
    }
}

#[test]
fn a_refusing_server_is_unhealthy_after_three_checks_and_healthy_again_after_two() {
    for probe in [check(Probe::Tcp), http()] {
        let mut lab = Lab::new(probe);
        lab.server.manner = Manner::Absent;
        lab.run(10_000);
        assert_eq!(lab.told(), [(false, Finding::Refused)]);
        assert!((4_000..6_100).contains(&lab.events[0].0), "at {} ms", lab.events[0].0);
        let unhealthy: Vec<_> = lab.stack.unhealthy().map(|(key, finding)| (key.address, finding)).collect();
        assert_eq!(unhealthy, [(SERVER, Finding::Refused)]);
        lab.server.manner = OK;
        lab.run(10_000);
        assert_eq!(lab.told()[1..], [(true, Finding::Answered)]);
        assert!((12_000..14_100).contains(&lab.events[1].0), "at {} ms", lab.events[1].0);
        assert_eq!(lab.stack.unhealthy().count(), 0);
    }
}

#[test]
fn a_silent_host_times_out() {
    for probe in [check(Probe::Tcp), http(), udp_check()] {
        let mut lab = Lab::new(probe);
        lab.server.manner = Manner::Dark;
        lab.run(10_000);
        assert_eq!(lab.told(), [(false, Finding::TimedOut)]);
    }
}

#[test]
fn a_mute_server_passes_a_tcp_check_and_no_other() {
    for (probe, told) in [
        (check(Probe::Tcp), vec![]),
        (http(), vec![(false, Finding::TimedOut)]),
        (udp_check(), vec![(false, Finding::TimedOut)]),
    ] {
        let mut lab = Lab::new(probe);
        lab.server.manner = Manner::Mute;
        lab.run(10_000);
        assert_eq!(lab.told(), told);
    }
}

#[test]
fn an_answer_counts_by_what_it_says() {
    for (words, finding) in [
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", None),
        ("HTTP/1.0 200 OK\r\n\r\n", None),
        ("HTTP/1.1 503 Busy\r\n\r\n", Some(Finding::Status(503))),
        ("HTTP/1.1 404 Not Found\r\n\r\nnothing here", Some(Finding::Status(404))),
        ("SSH-2.0-OpenSSH_9.2\r\n", Some(Finding::Unexpected)),
        ("HTTP/1.1 200 OK\r\nContent-Le", Some(Finding::Closed)),
    ] {
        let mut lab = Lab::new(http());
        lab.server.manner = Manner::Says(words);
        lab.run(10_000);
        assert_eq!(lab.told(), Vec::from_iter(finding.map(|finding| (false, finding))), "{words:?}");
    }
}

#[test]
fn a_datagram_counts_by_how_it_begins() {
    for (words, told) in [
        ("pong 17", vec![]),
        ("error", vec![(false, Finding::Unexpected)]),
        ("pon", vec![(false, Finding::Unexpected)]),
    ] {
        let mut lab = Lab::new(udp_check());
        lab.server.manner = Manner::Says(words);
        lab.run(10_000);
        assert_eq!(lab.told(), told, "{words:?}");
    }
}

#[test]
fn a_slow_server_is_healthy_within_the_timeout_only() {
    let words = "HTTP/1.1 200 OK\r\n\r\n";
    for (delay, told) in [(900, vec![]), (1_100, vec![(false, Finding::TimedOut)])] {
        let mut lab = Lab::new(http());
        lab.server.manner = Manner::SaysAfter(words, delay);
        lab.run(10_000);
        assert_eq!(lab.told(), told, "{delay} ms");
    }
}

#[test]
fn a_flapping_server_changes_nothing_until_it_fails_three_times_in_a_row() {
    let mut lab = Lab::new(http());
    for _ in 0..10 {
        lab.server.manner = Manner::Absent;
        lab.run(4_000);
        lab.server.manner = OK;
        lab.run(2_000);
    }
    assert_eq!(lab.told(), []);
    lab.server.manner = Manner::Absent;
    lab.run(6_000);
    assert_eq!(lab.told(), [(false, Finding::Refused)]);
    for _ in 0..10 {
        lab.server.manner = OK;
        lab.run(2_000);
        lab.server.manner = Manner::Absent;
        lab.run(2_000);
    }
    assert_eq!(lab.events.len(), 1);
}

#[test]
fn a_long_body_is_cut_off() {
    let body: String = "HTTP/1.1 200 OK\r\n\r\n".chars().chain(std::iter::repeat_n('x', 16_000)).collect();
    let mut lab = Lab::new(http());
    lab.server.manner = Manner::Says(body.leak());
    lab.run(10_000);
    assert_eq!(lab.told(), []);
}

#[test]
fn a_target_that_stays_keeps_its_health_and_one_that_goes_is_forgotten() {
    let mut lab = Lab::new(http());
    lab.server.manner = Manner::Absent;
    lab.run(10_000);
    let other = std::net::Ipv4Addr::new(10, 0, 0, 10);
    lab.stack.configure(lab.now, addresses(), vec![target(other, http()), target(SERVER, http())]);
    assert_eq!(lab.stack.unhealthy().count(), 1);
    // Asked otherwise, it is still what it was until the new check says something else.
    lab.stack.configure(lab.now, addresses(), vec![target(SERVER, check(Probe::Tcp))]);
    assert_eq!(lab.stack.unhealthy().count(), 1);
    lab.server.manner = OK;
    lab.run(10_000);
    assert_eq!(lab.told().last(), Some(&(true, Finding::Answered)));
    lab.stack.configure(lab.now, addresses(), vec![]);
    lab.run(3_000);
    let syns = lab.syn_ports.len();
    lab.run(10_000);
    assert_eq!((lab.stack.unhealthy().count(), lab.syn_ports.len()), (0, syns));
    assert_eq!(lab.stack.poll_delay(lab.now), None, "nothing is left to do");
}

#[test]
fn a_change_in_the_middle_of_a_check_neither_doubles_nor_loses_it() {
    let mut lab = Lab::new(http());
    lab.server.manner = Manner::SaysAfter("HTTP/1.1 200 OK\r\n\r\n", 500);
    for _ in 0..300 {
        lab.run(100);
        lab.stack.configure(
            lab.now,
            addresses(),
            vec![target(SERVER, http()), target(SERVER, check(Probe::Tcp))],
        );
    }
    assert_eq!(lab.told(), []);
    assert_eq!(lab.syn_ports.len(), 15);
}

#[test]
fn thousands_of_targets_are_spread_over_the_interval_within_the_bound() {
    let settings = Settings { concurrent_probes: 300, ..Settings::default() };
    let mut stack = HostStack::new(settings, 3, Instant::ZERO);
    let targets = (0..5_000u32).map(|i| {
        target((0x0a01_0000 + i).into(), check(Probe::Udp { send: String::new(), expect: String::new() }))
    });
    stack.configure(Instant::ZERO, addresses(), targets.collect());
    let mut asked = std::collections::BTreeSet::new();
    for millis in 0..=2_000 {
        let now = Instant::from_millis(millis);
        let before = stack.counters().probes_started;
        let mut sent = Vec::new();
        stack.poll(now, &mut |packet| sent.push(packet));
        assert!(stack.counters().probes_started - before < 20, "in one millisecond");
        for packet in sent {
            let (to, ports): (_, [u8; 4]) =
                (packet[16..20].to_vec(), packet[20..24].try_into().expect("a UDP header"));
            let [a, b, c, d] = ports;
            // The answer: ends turned round, no checksum (RFC 768: 0 is none).
            let ip_turned = [&packet[..10], &[0, 0], &packet[16..20], &packet[12..16]].concat();
            let mut answer = [ip_turned, vec![c, d, a, b, 0, 8, 0, 0]].concat();
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut answer[..]).fill_checksum();
            stack.receive(answer);
            asked.insert(to);
        }
    }
    assert_eq!(asked.len(), 5_000, "each was asked within its interval");
    assert_eq!((stack.unhealthy().count(), stack.counters().probes_failed), (0, 0));
}

#[test]
fn no_more_checks_than_the_bound_are_under_way() {
    let settings = Settings { concurrent_probes: 10, ..Settings::default() };
    let mut lab = Lab::with(settings, 1);
    lab.server.manner = Manner::Dark;
    let targets = (0..100u32).map(|i| target((0x0a01_0000 + i).into(), check(Probe::Tcp)));
    lab.stack.configure(lab.now, addresses(), targets.collect());
    lab.run(10_000);
    let started = lab.stack.counters().probes_started;
    assert!((90..=100).contains(&started), "ten at a time, each for a second: {started}");
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    let run = |seed| {
        let mut lab = Lab::with(Settings::default(), seed);
        lab.stack.configure(lab.now, addresses(), vec![target(SERVER, http())]);
        lab.run(5_000);
        lab.syn_ports
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
