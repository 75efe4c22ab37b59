//! An object in a few words, for the table of `get`.

use api::v1;
use api::v1::object::Spec;

use crate::endpoints::protocol_text;

/// What the object says, in one short line.
pub(crate) fn summary(object: &v1::Object) -> String {
    match &object.spec {
        Some(Spec::EgressPool(pool)) => few(&pool.addresses),
        Some(Spec::EgressPolicy(policy)) => {
            let action = match policy.action() {
                v1::egress_policy::Action::Snat => format!("snat by {}", policy.pool),
                v1::egress_policy::Action::Direct => "direct".to_owned(),
                v1::egress_policy::Action::Deny => "deny".to_owned(),
                v1::egress_policy::Action::Unspecified => "?".to_owned(),
            };
            format!("{} -> {}: {action}", selected(&policy.from), selected(&policy.to))
        }
        Some(Spec::LoadBalancer(balancer)) => {
            let ports: Vec<String> = balancer.ports.iter().map(service).collect();
            let backends = crate::units::plural(balancer.backends.len() as u64, "backend");
            format!("{} {} -> {backends}", few(&balancer.vips), few(&ports))
        }
        Some(Spec::StaticMapping(mapping)) => {
            let protocol = mapping.protocol.map_or_else(|| "1:1".to_owned(), protocol_text);
            format!("{protocol} {} <-> {}", side(mapping.outside.as_ref()), side(mapping.inside.as_ref()))
        }
        Some(Spec::AccessPolicy(policy)) => {
            let rules = crate::units::plural(policy.rules.len() as u64, "rule");
            format!("{}: {rules}", selected(&policy.subjects))
        }
        Some(Spec::AccessGuard(guard)) => few(&guard.prefixes),
        Some(Spec::Route(route)) => format!("{} via {}", route.to, few(&route.via)),
        None => "a kind that this sluicectl does not know".to_owned(),
    }
}

/// The first two, and how many more.
fn few(texts: &[String]) -> String {
    match texts {
        [one, two, _, ..] => format!("{one}, {two} and {} more", texts.len() - 2),
        _ => texts.join(", "),
    }
}

fn selected(prefixes: &[v1::PrefixExcept]) -> String {
    let texts: Vec<String> = prefixes
        .iter()
        .map(|it| {
            if it.except.is_empty() { it.prefix.clone() } else { format!("{} (with exceptions)", it.prefix) }
        })
        .collect();
    few(&texts)
}

fn service(port: &v1::ServicePort) -> String {
    let protocol = protocol_text(port.protocol.unwrap_or(6));
    match (port.port, port.end_port) {
        (0, _) => format!("{protocol}/all"),
        (first, Some(last)) if last != first => format!("{protocol}/{first}-{last}"),
        (first, _) => format!("{protocol}/{first}"),
    }
}

fn side(side: Option<&v1::static_mapping::Side>) -> String {
    let Some(side) = side else { return "?".to_owned() };
    match (side.port, side.end_port) {
        (None, _) => side.address.clone(),
        (Some(first), Some(last)) if last != first => format!("{}:{first}-{last}", side.address),
        (Some(port), _) => format!("{}:{port}", side.address),
    }
}
