//! The command line: what can be typed, and its help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::endpoints::{self, End, PacketEnd};
use crate::gateway::{GatewayArgs, duration};
use crate::output::Format;

/// Sluice's command line: configures a gateway and shows what it does.
#[derive(Parser, Debug)]
#[command(
    name = "sluicectl",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  sluicectl health --wait 30s
  sluicectl apply -f egress.yaml --wait
  sluicectl sessions --inside 10.0.0.5 -o json
  sluicectl explain --from 10.0.0.5:4000 --to 1.1.1.1:443/tcp

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the gateway cannot be reached."
)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    /// How results are written
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create or replace objects from files, all or nothing
    #[command(after_help = "\
Examples:
  sluicectl apply -f pool.yaml -f policies/
  sluicectl apply --replace -f everything.yaml --wait 1m
  sluicectl get -o yaml | sed s/old/new/ | sluicectl apply -f -

Without --replace, objects of the origin that the files do not name stay as they are.")]
    Apply(Apply),
    /// Show what `apply` would change, and whether it would be accepted; changes nothing
    #[command(after_help = "\
Examples:
  sluicectl plan -f policies/
  sluicectl plan --replace -f everything.yaml -o json

`+` is created, `~` replaced, `-` deleted. Exit code 1: `apply` would refuse it.")]
    Plan(Changes),
    /// Show objects
    #[command(after_help = "\
Examples:
  sluicectl get
  sluicectl get loadbalancer web -o yaml
  sluicectl get egresspolicies --origin cluster-a

YAML has every default filled in and can be applied again.")]
    Get(Get),
    /// Delete objects
    #[command(after_help = "\
Examples:
  sluicectl delete loadbalancer web
  sluicectl delete -f web.yaml")]
    Delete(Delete),
    /// List sessions
    #[command(after_help = "\
Examples:
  sluicectl sessions --inside 10.0.0.0/24 --protocol tcp --state established
  sluicectl sessions --remote 1.1.1.1:443 --min-idle 60s
  sluicectl sessions --policy web --count
  sluicectl sessions --limit 20 -o json

Of a balanced session, inside is the backend, outside the VIP and remote the client.")]
    Sessions(Sessions),
    /// End sessions; the next packet of each opens a new one, if it may
    #[command(after_help = "\
Examples:
  sluicectl kill --inside 10.0.0.5
  sluicectl kill --policy web --min-idle 10m
  sluicectl kill --all")]
    Kill(Kill),
    /// Show pools: blocks, ports in use, refusals
    Pools,
    /// Show load balancers' backends: state, health, sessions
    Backends,
    /// Show workers: CPU, generation, load
    Workers,
    /// Show why packets were dropped, most first
    Drops {
        /// Reasons that have not happened too
        #[arg(long)]
        all: bool,
    },
    /// Tell what would happen to a packet, and why; sends nothing
    #[command(after_help = "\
Examples:
  sluicectl explain --from 10.0.0.5:4000 --to 1.1.1.1:443/tcp
  sluicectl explain --from 198.51.100.7:5000 --to 203.0.113.10:80 --port out0
  sluicectl explain --from 10.0.0.5 --to 1.1.1.1/icmp

Exit code 0 whatever would happen: the question was answered.")]
    Explain(Explain),
    /// Tell what a drop reason means and what to do about it; needs no gateway
    #[command(after_help = "\
Examples:
  sluicectl explain-drop no_egress_policy
  sluicectl explain-drop")]
    ExplainDrop {
        /// A reason, as `drops` lists it; absent: all of them
        name: Option<String>,
    },
    /// Check that the gateway is ready: ports up, workers running, configuration on every worker
    #[command(after_help = "\
Examples:
  sluicectl health
  sluicectl --gateway unix:///run/sluice/api.sock health --wait 30s")]
    Health {
        /// Wait so long for it to become ready
        #[arg(long, value_parser = duration, value_name = "TIME")]
        wait: Option<Duration>,
    },
    /// Show traffic, pools, backends and drops live
    Top {
        /// Time between two screens
        #[arg(long, value_parser = duration, default_value = "1s", value_name = "TIME")]
        interval: Duration,
        /// End after so many screens
        #[arg(long, value_name = "NUMBER")]
        screens: Option<u64>,
    },
    /// Write a completion script
    #[command(after_help = "\
Example:
  sluicectl completion bash > /etc/bash_completion.d/sluicectl")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Files, and whose objects they are.
#[derive(Args, Debug)]
pub(crate) struct Changes {
    /// File or directory of objects (YAML or JSON), or `-` for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Make the files the origin's whole content: what they do not name is deleted
    #[arg(long)]
    pub(crate) replace: bool,
    /// Whose objects these are
    #[arg(long, default_value = "operator", value_name = "NAME")]
    pub(crate) origin: String,
    /// Refuse if the origin has changed since this generation
    #[arg(long, value_name = "GENERATION")]
    pub(crate) base: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) changes: Changes,
    /// Wait until every worker runs it [30s if no time is given]
    #[arg(long, value_parser = duration, num_args = 0..=1, default_missing_value = "30s", value_name = "TIME")]
    pub(crate) wait: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// Kind, as `loadbalancer`; absent: all
    #[arg(value_parser = crate::documents::kind)]
    pub(crate) kind: Option<model::Kind>,
    /// Name; absent: all
    pub(crate) name: Option<String>,
    /// Of one origin only
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Kind, as `loadbalancer`
    #[arg(value_parser = crate::documents::kind, required_unless_present = "files", requires = "names")]
    pub(crate) kind: Option<model::Kind>,
    /// Names
    pub(crate) names: Vec<String>,
    /// Delete the objects that these files name
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with = "kind")]
    pub(crate) files: Vec<PathBuf>,
    /// Whose objects these are
    #[arg(long, default_value = "operator", value_name = "NAME")]
    pub(crate) origin: String,
    /// Do not fail over what is not there
    #[arg(long)]
    pub(crate) ignore_missing: bool,
    /// Wait until every worker runs without them [30s if no time is given]
    #[arg(long, value_parser = duration, num_args = 0..=1, default_missing_value = "30s", value_name = "TIME")]
    pub(crate) wait: Option<Duration>,
}

/// Which sessions; all that is given has to match.
#[derive(Args, Debug)]
pub(crate) struct Filter {
    /// Inside address or prefix, with :PORT or without; or :PORT alone
    #[arg(long, value_parser = endpoints::end, value_name = "END")]
    pub(crate) inside: Option<End>,
    /// Outside address or prefix, likewise
    #[arg(long, value_parser = endpoints::end, value_name = "END")]
    pub(crate) outside: Option<End>,
    /// Remote address or prefix, likewise
    #[arg(long, value_parser = endpoints::end, value_name = "END")]
    pub(crate) remote: Option<End>,
    /// Remote port or ports: of egress, the service's
    #[arg(long, value_parser = endpoints::port_range, value_name = "PORTS")]
    pub(crate) port: Option<api::v1::PortRange>,
    /// tcp, udp, icmp or a number
    #[arg(long, value_parser = endpoints::protocol, value_name = "PROTOCOL")]
    pub(crate) protocol: Option<u8>,
    /// Name of the EgressPolicy, LoadBalancer or StaticMapping that they exist by
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// State, as `established`
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// Without a packet for at least so long
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) min_idle: Option<Duration>,
    /// At least so old
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) min_age: Option<Duration>,
    /// Of one worker
    #[arg(long, value_name = "NUMBER")]
    pub(crate) worker: Option<u16>,
}

#[derive(Args, Debug)]
pub(crate) struct Sessions {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// List so many at most
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<u64>,
    /// Only say how many there are
    #[arg(long, conflicts_with = "limit")]
    pub(crate) count: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Kill {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Every session of the gateway
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The packet's source
    #[arg(long, value_parser = endpoints::packet_end, value_name = "ADDRESS:PORT")]
    pub(crate) from: PacketEnd,
    /// The packet's destination
    #[arg(long, value_parser = endpoints::packet_end, value_name = "ADDRESS:PORT[/PROTOCOL]")]
    pub(crate) to: PacketEnd,
    /// Port of the gateway that it arrives on; absent: the one its source is routed to
    #[arg(long, value_name = "NAME")]
    pub(crate) port: Option<String>,
    /// Octets of the IP packet
    #[arg(long, default_value_t = 64, value_name = "OCTETS")]
    pub(crate) length: u16,
    /// It must not be fragmented
    #[arg(long)]
    pub(crate) dont_fragment: bool,
}
