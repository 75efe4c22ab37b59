//! Access rules, static mappings and routes as written.

use serde::{Deserialize, Serialize};

use super::{OneOrMany, PortMatch, PrefixExcept, Text};

/// `StaticMapping.spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StaticMapping {
    /// `TCP` or `UDP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Text>,
    /// Outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<StaticSide>,
    /// Inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<StaticSide>,
}

/// `{address, port, endPort}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StaticSide {
    /// Address.
    pub address: String,
    /// First port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Last port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u32>,
}

/// `AccessPolicy.spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessPolicy {
    /// Whom it selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Vec<PrefixExcept>>,
    /// What they may reach.
    #[serde(default)]
    pub rules: Vec<AccessRule>,
}

/// One of `rules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessRule {
    /// Destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<PrefixExcept>,
    /// Destination ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMatch>,
}

/// `AccessGuard.spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessGuard {
    /// Guarded prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<String>>,
}

/// `Route.spec`, and one of `routes` in the node file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    /// Destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Next hops.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub via: OneOrMany,
}
