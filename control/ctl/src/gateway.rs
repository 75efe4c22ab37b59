//! The way to the gateway: a Unix socket, or TCP, with TLS beyond loopback.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::failure::Failure;

/// Octets of one message from the gateway; a page of sessions or a chunk of objects is far smaller.
pub(crate) const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// Which gateway, and how it is reached.
#[derive(Args, Clone, Debug)]
pub(crate) struct GatewayArgs {
    /// The gateway's API: `unix:///PATH`, or `HOST:PORT`
    #[arg(
        long,
        global = true,
        env = "SLUICE_GATEWAY",
        default_value = "unix:///run/sluice/api.sock",
        value_name = "ADDRESS",
        help_heading = "Gateway"
    )]
    gateway: String,
    /// Certificate authority that the gateway's certificate is checked with (PEM); switches TLS on
    #[arg(long, global = true, env = "SLUICE_CA", value_name = "FILE", help_heading = "Gateway")]
    ca: Option<PathBuf>,
    /// Own certificate (PEM), for mutual TLS
    #[arg(
        long,
        global = true,
        env = "SLUICE_CERT",
        value_name = "FILE",
        help_heading = "Gateway",
        requires = "key"
    )]
    cert: Option<PathBuf>,
    /// Own private key (PEM)
    #[arg(
        long,
        global = true,
        env = "SLUICE_KEY",
        value_name = "FILE",
        help_heading = "Gateway",
        requires = "cert"
    )]
    key: Option<PathBuf>,
    /// Name in the gateway's certificate, where it is not HOST
    #[arg(long, global = true, value_name = "NAME", help_heading = "Gateway")]
    server_name: Option<String>,
    /// How long to wait for a connection, and for an answer that should come at once
    #[arg(
        long,
        global = true,
        default_value = "10s",
        value_parser = duration,
        value_name = "TIME",
        help_heading = "Gateway"
    )]
    timeout: Duration,
}

/// For clap: `30s`, `500ms`, `1m30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    model::text::parse_duration(text).ok_or_else(|| "not a duration; write 30s, 500ms or 1m30s".to_owned())
}

/// A connection.
#[derive(Clone)]
pub(crate) struct Gateway {
    channel: Channel,
    address: String,
    timeout: Duration,
}

impl GatewayArgs {
    /// Connects. Wrong addresses and files are found before anything is sent.
    pub(crate) async fn connect(&self) -> Result<Gateway, Failure> {
        let endpoint = self.endpoint()?.connect_timeout(self.timeout);
        let unreachable = |why: String| Failure::Unreachable(self.unreachable(&why));
        // The connector for Unix sockets knows no time limit of its own.
        let channel = match tokio::time::timeout(self.timeout, endpoint.connect()).await {
            Ok(channel) => channel.map_err(|error| unreachable(innermost(&error)))?,
            Err(_) => return Err(unreachable("no answer in time".to_owned())),
        };
        Ok(Gateway { channel, address: self.gateway.clone(), timeout: self.timeout })
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let tls = self.ca.is_some() || self.cert.is_some() || self.gateway.starts_with("https://");
        if self.gateway.starts_with("unix:") {
            if tls {
                return Err(Failure::Usage(
                    "TLS options are for HOST:PORT; a Unix socket needs none".to_owned(),
                ));
            }
            return Endpoint::from_shared(self.gateway.clone()).map_err(|_| self.wrong_address());
        }
        let place = ["https://", "http://", "tcp://"]
            .iter()
            .find_map(|scheme| self.gateway.strip_prefix(scheme))
            .unwrap_or(&self.gateway);
        let (host, port) = place.rsplit_once(':').ok_or_else(|| self.wrong_address())?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(self.wrong_address());
        }
        if !tls && !is_loopback(host) {
            return Err(Failure::Usage(format!(
                "{place} is not on this host, and beyond loopback the API speaks mutual TLS only: add --ca, --cert and --key"
            )));
        }
        let scheme = if tls { "https" } else { "http" };
        let endpoint =
            Endpoint::from_shared(format!("{scheme}://{place}")).map_err(|_| self.wrong_address())?;
        if !tls {
            return Ok(endpoint);
        }
        let mut config = ClientTlsConfig::new();
        config = match &self.ca {
            Some(file) => config.ca_certificate(Certificate::from_pem(read(file)?)),
            None => {
                return Err(Failure::Usage(
                    "TLS needs --ca, the authority that signed the gateway's certificate".into(),
                ));
            }
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name.clone());
        }
        endpoint
            .tls_config(config)
            .map_err(|error| Failure::Failed(format!("TLS files: {}", innermost(&error))))
    }

    fn wrong_address(&self) -> Failure {
        Failure::Usage(format!("--gateway {}: write unix:///PATH or HOST:PORT", self.gateway))
    }

    fn unreachable(&self, why: &str) -> String {
        let hint = match self.gateway.starts_with("unix:") {
            true if why.contains("ermission denied") => "the socket is its owner's alone: run as root",
            true => "is sluiced running, and is this its `api.listen`? --gateway names another socket",
            false => {
                "is sluiced running, does `api.listen` of its node file list this address, and does it expect TLS?"
            }
        };
        format!("cannot reach the gateway at {}: {why}; {hint}", self.gateway)
    }
}

impl Gateway {
    /// The channel, for a client.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A request whose answer should come at once.
    pub(crate) fn ask<T>(&self, message: T) -> Request<T> {
        self.ask_within(message, self.timeout)
    }

    /// A request whose answer may take `time`.
    pub(crate) fn ask_within<T>(&self, message: T, time: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(time);
        request
    }

    /// What a call's failure means to the user.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        let address = &self.address;
        let message = status.message();
        match status.code() {
            Code::Unavailable => Failure::Unreachable(format!("lost the gateway at {address}: {message}")),
            // With TLS 1.3 a client that is refused learns of it by its first request.
            _ if is_transport(status) => {
                let why = innermost(status);
                let hint = "if it expects mutual TLS, it may know neither --cert nor its authority";
                Failure::Unreachable(format!("lost the gateway at {address}: {why}; {hint}"))
            }
            Code::DeadlineExceeded | Code::Cancelled
                if message.is_empty() || message.contains("imeout expired") =>
            {
                Failure::Unreachable(format!(
                    "no answer from the gateway at {address} in time; --timeout gives it longer"
                ))
            }
            Code::Unimplemented => Failure::Failed(format!(
                "the gateway at {address} does not know this request: it is older than this sluicectl, or not a gateway"
            )),
            Code::Unauthenticated | Code::PermissionDenied => {
                Failure::Failed(format!("the gateway at {address} refuses this user: {message}"))
            }
            _ if message.is_empty() => Failure::Failed(status.code().description().to_owned()),
            _ => Failure::Failed(message.to_owned()),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    bare == "localhost" || address.is_loopback()
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))
}

/// Whether a call failed below gRPC: no answer of the gateway's has this as its cause.
fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some_and(|source| source.is::<tonic::transport::Error>())
}

/// The cause at the bottom: what is above it says only that a connection failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
