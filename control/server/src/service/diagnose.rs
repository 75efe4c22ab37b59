//! `sluice.v1.Diagnose`.

use api::v1::{self, diagnose_server::Diagnose};
use model::Protocol;
use tonic::{Request, Response, Status};

use super::Context;
use super::sessions::{endpoint_message, session_message};
use crate::{Endpoint, Explanation, Fate, Question};

/// SYN alone: the first packet of a connection.
const SYN: u8 = 2;

pub(super) struct Service(pub(super) Context);

#[tonic::async_trait]
impl Diagnose for Service {
    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let question = question(request.into_inner())?;
        let explained = self.0.blocking(move |context| context.gateway.explain(&question)).await?;
        let explanation = explained.map_err(Status::invalid_argument)?;
        Ok(Response::new(message(&explanation)))
    }
}

fn question(it: v1::ExplainRequest) -> Result<Question, Status> {
    let fault = |field: &str, what: String| Status::invalid_argument(format!("{field}: {what}"));
    let number = |field: &str, value: u32, most: u32, default: u32| match value {
        0 => Ok(default),
        value if value <= most => Ok(value),
        value => Err(fault(field, format!("{value} is more than {most}"))),
    };
    let protocol = number("protocol", it.protocol, 255, 6)? as u8;
    let flags = it.tcp_flags.unwrap_or(SYN.into());
    Ok(Question {
        protocol: Protocol::from_number(protocol),
        source: endpoint("source", it.source)?,
        destination: endpoint("destination", it.destination)?,
        port: Some(it.port).filter(|port| !port.is_empty()),
        tcp_flags: u8::try_from(flags)
            .map_err(|_| fault("tcp_flags", format!("{flags} is more than 255")))?,
        length: number("length", it.length, 65_535, 64)? as u16,
        dont_fragment: it.dont_fragment,
        ttl: number("ttl", it.ttl, 255, 64)? as u8,
    })
}

fn endpoint(field: &str, message: Option<v1::Endpoint>) -> Result<Endpoint, Status> {
    let fault = |what: String| Status::invalid_argument(format!("{field}{what}"));
    let it = message.ok_or_else(|| fault(": missing".to_owned()))?;
    let address =
        it.address.parse().map_err(|_| fault(format!(".address: {:?} is not an IP address", it.address)))?;
    let port = u16::try_from(it.port).map_err(|_| fault(format!(".port: {} is not a port", it.port)))?;
    Ok(Endpoint { address, port })
}

fn message(it: &Explanation) -> v1::ExplainResponse {
    use v1::explain_response::Verdict;
    let dropped = it.dropped.clone().unwrap_or_default();
    let name = |name: &Option<model::Name>| name.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::ExplainResponse {
        verdict: match it.fate {
            Fate::Forward => Verdict::Forward,
            Fate::Drop => Verdict::Drop,
            Fate::Punt => Verdict::Punt,
            Fate::Hold => Verdict::Hold,
        }
        .into(),
        steps: it
            .steps
            .iter()
            .map(|step| v1::ExplainStep {
                stage: step.stage.clone(),
                object: step.object.clone(),
                origin: step.origin.clone(),
                matched: step.matched,
                text: step.text.clone(),
            })
            .collect(),
        worker: it.worker.into(),
        generation: it.generation.0,
        session: it.session.as_ref().map(session_message),
        source: it.source.map(endpoint_message),
        destination: it.destination.map(endpoint_message),
        egress_port: it.egress_port.clone().unwrap_or_default(),
        next_hop: it.next_hop.map(|hop| hop.to_string()).unwrap_or_default(),
        next_hop_mac: it.next_hop_mac.clone().unwrap_or_default(),
        drop_reason: dropped.reason,
        cause: dropped.cause,
        remedy: dropped.remedy,
        policy: name(&it.policy),
        pool: name(&it.pool),
        backend: it.backend.map(endpoint_message),
    }
}
