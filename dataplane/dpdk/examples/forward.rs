//! Forwards between two devices, both ways, with one worker, and says what a packet cost.
//!
//! ```text
//! cargo run --release -p dpdk --example forward                              # two null devices
//! cargo run --release -p dpdk --example forward -- net_af_xdp0,iface=a net_af_xdp1,iface=b --seconds 10 --cpu 1
//! ```
//! With `--sleep` it waits on the devices' sockets when nothing comes; otherwise it spins.

use std::error::Error;
use std::time::{Duration, Instant};

use dpdk::{
    Burst, Clock, Cpu, Device, Eal, EalConfig, Lcore, Level, Mempool, PoolConfig, PortConfig, pin, tsc, wait,
};

struct Arguments {
    devices: [String; 2],
    seconds: u64,
    cpu: Option<usize>,
    sleep: bool,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut parsed = Arguments {
        devices: ["net_null0,size=64".into(), "net_null1,size=64".into()],
        seconds: 3,
        cpu: None,
        sleep: false,
    };
    let (mut given, mut rest) = (0, std::env::args().skip(1));
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => parsed.seconds = rest.next().ok_or("--seconds N")?.parse()?,
            "--cpu" => parsed.cpu = Some(rest.next().ok_or("--cpu N")?.parse()?),
            "--sleep" => parsed.sleep = true,
            device => {
                *parsed.devices.get_mut(given).ok_or("two devices at most")? = device.to_owned();
                given += 1;
            }
        }
    }
    Ok(parsed)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let eal = Eal::init(&EalConfig { log: Level::Warning, ..EalConfig::default() }, |level, line| {
        eprintln!("{level:?}: {line}");
    })?;
    println!("{}, memory: {:?}", eal.version(), eal.memory());
    if let Some(cpu) = arguments.cpu {
        pin(Cpu(cpu))?;
    }
    let _lcore = Lcore::register(&eal)?;
    let pool = Mempool::new(&eal, &PoolConfig::default())?;
    let start = |devargs: &str| Device::probe(&eal, devargs)?.start(&PortConfig::default(), &pool);
    let (mut a, mut b) = (start(&arguments.devices[0])?, start(&arguments.devices[1])?);
    let sockets: Vec<_> = [&a, &b].iter().flat_map(|end| end.port.sockets()).copied().collect();

    let clock = Clock::new(&eal);
    let deadline = Instant::now() + Duration::from_secs(arguments.seconds);
    let (mut forward, mut backward) = (Burst::new(), Burst::new());
    let (mut packets, mut dropped, mut busy, mut polls) = (0u64, 0u64, 0u64, 0u64);
    // The time is looked at once in 1,024 polls: it costs more than forwarding does.
    while !polls.is_multiple_of(1_024) || Instant::now() < deadline {
        polls += 1;
        let began = tsc();
        let came = a.rx[0].receive(&mut forward) + b.rx[0].receive(&mut backward);
        if came == 0 {
            if arguments.sleep && !sockets.is_empty() {
                wait(&sockets, Duration::from_millis(10));
            }
            continue;
        }
        packets += (b.tx[0].send(&mut forward) + a.tx[0].send(&mut backward)) as u64;
        // What a full queue does not take is dropped here; a worker would count it by its cause.
        dropped += (forward.len() + backward.len()) as u64;
        forward.clear();
        backward.clear();
        busy += tsc().wrapping_sub(began);
    }
    let seconds = clock.now() as f64 / 1e9;
    println!(
        "{packets} packets forwarded, {dropped} dropped, {:.3} Mpps, {:.1} cycles ({:.1} ns) a packet while busy, {} polls",
        packets as f64 / seconds / 1e6,
        busy as f64 / packets.max(1) as f64,
        clock.nanoseconds(busy) as f64 / packets.max(1) as f64,
        polls
    );
    for end in [&a, &b] {
        println!("{}: {:?}", end.port.name(), end.port.stats()?);
    }
    drop((a, b));
    println!("{} buffers are still out of the pool", pool.in_use());
    Ok(())
}
