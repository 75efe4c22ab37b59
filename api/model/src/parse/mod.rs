//! Written objects become domain objects, or a list of everything that is wrong with them.
//!
//! Here an object is judged by itself; whether it goes with the others is `check`'s affair.

mod access;
mod balancer;
mod egress;
mod node;
pub(crate) mod report;
mod scalar;

use report::{At, Report};

use crate::{Error, Kind, Name, Object, ObjectRef, Origin, Spec, Warning, raw, text};

pub use node::node as parse_node;

pub(crate) const NAME_REMEDY: &str =
    "write 1 to 253 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit";

/// Parses one written object of `origin`.
///
/// # Errors
/// Everything that is wrong with it, by field.
pub fn object(
    origin: &Origin,
    name: &str,
    spec: raw::Spec,
    warnings: &mut Vec<Warning>,
) -> Result<Object, Vec<Error>> {
    let kind = spec.kind();
    let object =
        ObjectRef { origin: Some(origin.clone()), kind: kind.as_str().to_owned(), name: name.to_owned() };
    let mut report = Report::new(&object);
    if !text::is_name(name) {
        report.fault(At::root("metadata").field("name"), name, "not a name", NAME_REMEDY);
    }
    let at = At::root("spec");
    let spec = match spec {
        raw::Spec::EgressPool(it) => Spec::EgressPool(egress::pool(&mut report, at, it)),
        raw::Spec::EgressPolicy(it) => Spec::EgressPolicy(egress::policy(&mut report, at, it)),
        raw::Spec::LoadBalancer(it) => Spec::LoadBalancer(balancer::balancer(&mut report, at, it)),
        raw::Spec::StaticMapping(it) => Spec::StaticMapping(access::mapping(&mut report, at, it)),
        raw::Spec::AccessPolicy(it) => Spec::AccessPolicy(access::policy(&mut report, at, it)),
        raw::Spec::AccessGuard(it) => Spec::AccessGuard(access::guard(&mut report, at, it)),
        raw::Spec::Route(it) => Spec::Route(access::route(&mut report, at, it)),
    };
    if !report.errors.is_empty() {
        return Err(report.errors);
    }
    warnings.append(&mut report.warnings);
    Ok(Object { name: Name(name.into()), spec })
}

/// Parses the name of an origin.
///
/// # Errors
/// It is not one RFC 1123 label.
pub fn origin(name: &str) -> Result<Origin, Vec<Error>> {
    if text::is_origin(name) {
        return Ok(Origin(name.into()));
    }
    let object = ObjectRef { origin: None, kind: "origin".to_owned(), name: name.to_owned() };
    Err(vec![Error::new(
        object,
        "origin",
        name,
        "not a name for an origin",
        "write 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
    )])
}

impl raw::Spec {
    /// Which kind it is of.
    pub fn kind(&self) -> Kind {
        match self {
            raw::Spec::EgressPool(_) => Kind::EgressPool,
            raw::Spec::EgressPolicy(_) => Kind::EgressPolicy,
            raw::Spec::LoadBalancer(_) => Kind::LoadBalancer,
            raw::Spec::StaticMapping(_) => Kind::StaticMapping,
            raw::Spec::AccessPolicy(_) => Kind::AccessPolicy,
            raw::Spec::AccessGuard(_) => Kind::AccessGuard,
            raw::Spec::Route(_) => Kind::Route,
        }
    }
}
