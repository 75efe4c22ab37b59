//! Egress objects as written.

use serde::{Deserialize, Serialize};

use super::Text;

/// `EgressPool.spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EgressPool {
    /// Addresses, ranges `a-b`, prefixes.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// `first-last`, or one port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Text>,
    /// Ports of a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u32>,
    /// Most blocks of a subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_blocks_per_subscriber: Option<u32>,
    /// Duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_rest: Option<Text>,
    /// Idle times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Limits per subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
}

/// `timeouts` of a pool: durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeouts {
    /// UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<Text>,
    /// TCP established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_established: Option<Text>,
    /// TCP opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_opening: Option<Text>,
    /// TCP closing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_closing: Option<Text>,
    /// ICMP queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Text>,
}

/// `quotas` of a pool; 0: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Quotas {
    /// Ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<u32>,
    /// Sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// New sessions a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_sessions_per_second: Option<u32>,
    /// New sessions at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// TCP sessions not yet established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_open: Option<u32>,
}

/// `EgressPolicy.spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EgressPolicy {
    /// Higher first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Inside sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<PrefixExcept>>,
    /// Destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<PrefixExcept>>,
    /// Destination ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMatch>,
    /// `Snat`, `Direct` or `Deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Name of a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// RFC 4787 mapping behaviour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// RFC 4787 filtering behaviour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtering: Option<String>,
    /// `Paired`, `PairedStrict` or `Arbitrary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<String>,
    /// `Reject` or `Drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deny: Option<String>,
    /// Adopt TCP sessions in mid-stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt_mid_stream: Option<bool>,
    /// TCP MSS; 0: to the MTU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mss_clamp: Option<u32>,
}

/// `{prefix, except}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PrefixExcept {
    /// The prefix.
    pub prefix: String,
    /// Prefixes inside it that are no match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// `{protocol, port, endPort}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PortMatch {
    /// Protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Text>,
    /// First port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Last port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u32>,
}
