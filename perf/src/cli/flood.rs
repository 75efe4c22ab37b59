//! `sluice-perf flood`.

mod trials;

use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;
use perf::draw::{self, mix};
use perf::flood;
use perf::flood::generator::{Generator, Trial};
use perf::flood::ports::{self, PortName};
use perf::flood::record::{Found, Record};
use perf::flood::schedule::{Rate, Schedule};
use perf::flood::traffic::{Ends, Order, Size};
use serde::Serialize;
use wire::MacAddr;

use self::trials::{Run, print};
use super::{Place, bar, print_json, size};

#[derive(Clone, Copy, ValueEnum)]
enum Draw {
    /// Every flow as often
    Uniform,
    /// Some much more often than others
    Zipf,
    /// One after the other: new sessions, where there are more flows than the gateway keeps
    Turn,
}

const EXAMPLES: &str = "\
A port is an interface (eth1: AF_XDP where it can be had, or AF_PACKET), a device by DPDK's arguments
(net_af_packet0,iface=eth1), a NIC by its PCI address (0000:3b:00.0), or `ring`: two ends in memory.

Packets carry a marker in their payload, so they are known again behind NAT. Latency counts from when a packet
was due by the schedule, so that a stall counts for all that should have been sent meanwhile.

Examples:
  sluice-perf flood --from ring --rate 1m                what the generator itself can do
  sluice-perf flood --from in --to out --address 10.0.0.5 --to-address 198.51.100.100 --gateway 10.0.0.1 \\
                    --sources 10.1.0.0/16 --targets 192.0.2.0/24 --flows 100k --rate 50k --seconds 30
  sluice-perf flood --from 0000:3b:00.0 --to 0000:3b:00.1 --gateway-mac 02:00:00:00:00:01 \\
                    --to-address 198.51.100.2 --flows 1m --size imix --rate 50%
  sluice-perf flood --from in --to out --address 10.0.0.5 --to-address 198.51.100.100 --gateway 10.0.0.1 \\
                    --search --rate 2m --seconds 10 --loss 0 --json > perf/results/flood.json";

/// Options.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Flood {
    #[command(flatten)]
    place: Place,
    /// Port to send by
    #[arg(long, value_name = "PORT")]
    from: PortName,
    /// Port that packets come back by [default: the same; of a ring, its other end]
    #[arg(long, value_name = "PORT")]
    to: Option<PortName>,
    /// Own address on --from, for which ARP is answered
    #[arg(long, value_name = "IP")]
    address: Option<Ipv4Addr>,
    /// Own address on --to: where the gateway's route to the targets leads
    #[arg(long, value_name = "IP")]
    to_address: Option<Ipv4Addr>,
    /// Next hop on --from, whose hardware address is asked for
    #[arg(long, value_name = "IP", requires = "address", conflicts_with = "gateway_mac")]
    gateway: Option<Ipv4Addr>,
    /// Hardware address of the next hop
    #[arg(long, value_name = "MAC", value_parser = mac)]
    gateway_mac: Option<MacAddr>,
    /// Network that packets come from
    #[arg(long, value_name = "NET", default_value = "10.1.0.0/16")]
    sources: Ipv4Net,
    /// Flows of each source address
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=40_000))]
    per_source: u64,
    /// Network that packets go to
    #[arg(long, value_name = "NET", default_value = "93.0.0.0/14")]
    targets: Ipv4Net,
    /// UDP port that packets go to
    #[arg(long, value_name = "N", default_value_t = 443)]
    target_port: u16,
    /// Flows
    #[arg(long, value_name = "N", default_value = "1000", value_parser = size)]
    flows: u64,
    /// How the next packet's flow is drawn
    #[arg(long, value_enum, default_value = "uniform")]
    draw: Draw,
    /// Octets of a frame with FCS, or imix: 64, 594 and 1518, 7:4:1
    #[arg(long, default_value = "64")]
    size: Size,
    /// Packets a second (100k, 1.5m), a share of the wire (50%), or max; with --search, the most to try
    #[arg(long, default_value = "10k")]
    rate: Rate,
    /// Seconds of sending; with --search, of each trial
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Seconds before, in which flows are opened one after the other and nothing counts
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    warm_up: u32,
    /// Find the highest rate without loss, by halving (RFC 2544)
    #[arg(long)]
    search: bool,
    /// Loss to let pass in a search, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, requires = "search", value_parser = percent)]
    loss: f64,
    /// How near a search comes to the limit, percent of the most
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, requires = "search", value_parser = percent)]
    resolution: f64,
    /// Seed of all draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A word on what is measured, kept with the results
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    flood: Vec<Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<Found>,
}

fn mac(text: &str) -> Result<MacAddr, String> {
    let octets: Option<Vec<u8>> = text
        .split(':')
        .map(|part| if part.len() == 2 { u8::from_str_radix(part, 16).ok() } else { None })
        .collect();
    let six = octets.and_then(|o| <[u8; 6]>::try_from(o).ok());
    six.map(MacAddr).ok_or_else(|| format!("{text:?} is no address like 02:00:00:00:00:01"))
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n| (0.0..=100.0).contains(n));
    number.ok_or_else(|| format!("{text:?} is no percentage from 0 to 100"))
}

/// What its packets are known by: of this process, at this time.
fn stamp() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    mix(now ^ u64::from(std::process::id())) as u32
}

/// Seconds that two links may take to come up, and a neighbour to answer.
const PATIENCE: u64 = 10;
impl Flood {
    fn ends(&self) -> Result<Ends> {
        let ends = Ends {
            sources: self.sources,
            per_source: self.per_source,
            targets: self.targets,
            target_port: self.target_port,
            flows: self.flows,
        };
        if !(1..=100_000_000).contains(&ends.flows) {
            bail!("--flows {}: from 1 to 100 million", ends.flows);
        }
        ends.check().map_err(|e| anyhow!(e))?;
        Ok(ends)
    }

    /// Fails where there is no CPU that the generator would have for itself.
    fn place(&self) -> Result<()> {
        let cpus = dpdk::allowed_cpus().len();
        if cpus < 2 && self.place.cpu.is_none() && self.from != PortName::Ring {
            bail!(
                "only {cpus} CPU may be used: the generator needs one for itself, or it measures its own waiting. \
                 Allow it another one (taskset -c), run it on another machine, or say --cpu N to have it so"
            );
        }
        self.place.pin()?;
        Ok(())
    }

    fn open(&self) -> Result<Run> {
        let ends = self.ends()?;
        if self.from != PortName::Ring && self.gateway.is_none() && self.gateway_mac.is_none() {
            bail!(
                "to whom? Give --gateway IP with an --address of your own on {}, or --gateway-mac MAC",
                self.from
            );
        }
        self.place()?;
        let to = self.to.as_ref().map(|name| (name, self.to_address));
        let to =
            if self.from == PortName::Ring { to.or(Some((&PortName::Ring, self.to_address))) } else { to };
        let opened = ports::open((&self.from, self.address), to, self.size.longest())?;
        if let Some(note) = &opened.note {
            eprintln!("sluice-perf: {note}");
        }
        let mut generator = Generator::new(&opened.eal, opened.out, opened.back, opened.pool)
            .map_err(|e| anyhow!("{e}; {}", e.remedy()))?;
        generator.wait_for_links(PATIENCE).map_err(|e| anyhow!(e))?;
        let gateway = match (self.gateway, self.gateway_mac) {
            (Some(ip), _) => generator.resolve(ip, PATIENCE).ok_or_else(|| {
                anyhow!(
                    "nobody answers for {ip} on {}: see that the gateway runs, that its port has this address and \
                     that the cable leads there; or give --gateway-mac",
                    self.from
                )
            })?,
            (None, Some(mac)) => mac,
            (None, None) => generator.back().mac(),
        };
        let link = generator.out().port().link().ok().and_then(|l| l.mbps);
        let rate = self.rate.per_second(link, self.size.mean()).map_err(|e| anyhow!(e))?;
        let order = match self.draw {
            Draw::Uniform => Order::Drawn(draw::Flows::Uniform),
            Draw::Zipf => Order::Drawn(draw::Flows::Zipf),
            Draw::Turn => Order::InTurn,
        };
        let trial = Trial {
            schedule: rate.map_or(Schedule::Flat, Schedule::of_rate),
            rate,
            seconds: f64::from(self.seconds),
            ends,
            order,
            size: self.size,
            gateway,
            seed: self.seed,
            stamp: stamp(),
        };
        let (from, to) = (generator.out().name(), generator.back().name());
        Ok(Run {
            generator,
            trial,
            bar: bar(1000),
            json: self.json,
            from,
            to,
            note: self.note.clone(),
            records: Vec::new(),
        })
    }

    pub(super) fn run(self) -> Result<()> {
        flood::runs();
        let mut run = self.open()?;
        if self.warm_up > 0 {
            run.warm_up(f64::from(self.warm_up), self.search)?;
        }
        let found = if self.search {
            Some(run.search(self.loss, self.resolution)?)
        } else {
            run.one(run.trial.rate, "sending")?;
            None
        };
        run.bar.finish_and_clear();
        if self.json {
            return print_json(Report { flood: run.records, search: found });
        }
        match (found, run.records.last()) {
            (Some(found), _) if found.rate == 0 => bail!(
                "every trial lost more than {} %, the last at {} packets a second: see that packets come back at \
                 all, with --rate 100 and without --search",
                found.loss_percent,
                run.records.last().and_then(|r| r.rate).unwrap_or(0)
            ),
            (Some(found), _) => println!(
                "{} packets a second with at most {} % lost, to within {}, {} trials of {} s",
                found.rate, found.loss_percent, found.resolution, found.trials, found.seconds
            ),
            (None, Some(record)) => print(record),
            (None, None) => {}
        }
        Ok(())
    }
}
