//! `explain`: what would happen to a packet.

use api::v1;
use api::v1::diagnose_client::DiagnoseClient;
use serde::Serialize;

use crate::args::Explain;
use crate::endpoints;
use crate::failure::Failure;
use crate::gateway::GatewayArgs;
use crate::output::{self, Format};

const TCP: u8 = 6;
const UDP: u8 = 17;

#[derive(Serialize)]
struct Explanation {
    verdict: &'static str,
    worker: u32,
    generation: u64,
    session: Option<String>,
    policy: String,
    pool: String,
    backend: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    egress_port: String,
    next_hop: String,
    next_hop_mac: String,
    drop_reason: String,
    cause: String,
    remedy: String,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    stage: String,
    object: String,
    origin: String,
    matched: bool,
    text: String,
}

pub(crate) async fn run(args: &GatewayArgs, format: Format, explain: Explain) -> Result<(), Failure> {
    let request = request(&explain)?;
    let question = format!(
        "{} {} -> {}",
        endpoints::protocol_text(request.protocol),
        endpoints::text(request.source.as_ref()),
        endpoints::text(request.destination.as_ref())
    );
    let gateway = args.connect().await?;
    let answer = DiagnoseClient::new(gateway.channel()).explain(gateway.ask(request)).await;
    let explanation = Explanation::from(answer.map_err(|status| gateway.failure(&status))?.into_inner());
    output::value(format, &explanation, &text(&question, &explanation))?;
    Ok(())
}

fn request(explain: &Explain) -> Result<v1::ExplainRequest, Failure> {
    let protocol = match (explain.from.protocol, explain.to.protocol) {
        (Some(one), Some(other)) if one != other => {
            return Err(Failure::Usage("explain: --from and --to name different protocols".into()));
        }
        (one, other) => one.or(other).unwrap_or(TCP),
    };
    let has_ports = protocol == TCP || protocol == UDP;
    if has_ports && (explain.from.port.is_none() || explain.to.port.is_none()) {
        return Err(Failure::Usage(
            "explain: TCP and UDP need a port at both ends, as --from 10.0.0.5:4000".into(),
        ));
    }
    let end = |end: &endpoints::PacketEnd| {
        Some(v1::Endpoint { address: end.address.to_string(), port: end.port.unwrap_or(0).into() })
    };
    Ok(v1::ExplainRequest {
        protocol: protocol.into(),
        source: end(&explain.from),
        destination: end(&explain.to),
        port: explain.port.clone().unwrap_or_default(),
        tcp_flags: None,
        length: explain.length.into(),
        dont_fragment: explain.dont_fragment,
        ttl: 0,
    })
}

impl From<v1::ExplainResponse> for Explanation {
    fn from(answer: v1::ExplainResponse) -> Self {
        let verdict = match answer.verdict() {
            v1::explain_response::Verdict::Forward => "forward",
            v1::explain_response::Verdict::Drop => "drop",
            v1::explain_response::Verdict::Punt => "punt",
            v1::explain_response::Verdict::Hold => "hold",
            v1::explain_response::Verdict::Unspecified => "unknown",
        };
        let end = |endpoint: &Option<v1::Endpoint>| endpoint.as_ref().map(|it| endpoints::text(Some(it)));
        let session = answer.session.as_ref().map(|session| {
            format!(
                "{} {} | {} | {} {}",
                endpoints::protocol_text(session.protocol),
                endpoints::text(session.inside.as_ref()),
                endpoints::text(session.outside.as_ref()),
                endpoints::text(session.remote.as_ref()),
                session.state
            )
        });
        Explanation {
            verdict,
            worker: answer.worker,
            generation: answer.generation,
            session,
            backend: end(&answer.backend),
            source: end(&answer.source),
            destination: end(&answer.destination),
            policy: answer.policy,
            pool: answer.pool,
            egress_port: answer.egress_port,
            next_hop: answer.next_hop,
            next_hop_mac: answer.next_hop_mac,
            drop_reason: answer.drop_reason,
            cause: answer.cause,
            remedy: answer.remedy,
            steps: answer.steps.into_iter().map(Step::from).collect(),
        }
    }
}

impl From<v1::ExplainStep> for Step {
    fn from(step: v1::ExplainStep) -> Self {
        let v1::ExplainStep { stage, object, origin, matched, text } = step;
        Step { stage, object, origin, matched, text }
    }
}

fn text(question: &str, answer: &Explanation) -> String {
    let mut lines = vec![question.to_owned()];
    lines.extend(answer.steps.iter().map(|step| {
        let sign = if step.matched { '*' } else { ' ' };
        let owner = if step.origin.is_empty() { String::new() } else { format!(" ({})", step.origin) };
        let object = if step.object.is_empty() { String::new() } else { format!("{}{owner}: ", step.object) };
        format!("  {sign} {:<9} {object}{}", step.stage, step.text)
    }));
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("  {name:<11} {value}"));
        }
    };
    fact("policy", &answer.policy);
    fact("pool", &answer.pool);
    fact("backend", answer.backend.as_deref().unwrap_or_default());
    fact("session", answer.session.as_deref().unwrap_or_default());
    fact("worker", &answer.worker.to_string());
    fact("generation", &answer.generation.to_string());
    match answer.verdict {
        "drop" => {
            fact("cause", &answer.cause);
            fact("remedy", &answer.remedy);
            lines.push(format!("verdict: drop {}", answer.drop_reason));
        }
        "forward" => {
            let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "?".to_owned());
            let mac = match answer.next_hop_mac.is_empty() {
                true => String::new(),
                false => format!(" ({})", answer.next_hop_mac),
            };
            fact("next hop", &format!("{}{mac}", answer.next_hop));
            let new =
                end(&answer.source).strip_suffix(":0").map(|address| format!("{address}:(a random port)"));
            let source = new.unwrap_or_else(|| end(&answer.source));
            let left = end(&answer.destination);
            lines.push(format!("verdict: forward by {} as {source} -> {left}", answer.egress_port));
        }
        "punt" => lines.push("verdict: the gateway itself answers it".to_owned()),
        "hold" => lines.push("verdict: held until its next hop or its first fragment is known".to_owned()),
        other => lines.push(format!("verdict: {other}")),
    }
    lines.join("\n")
}
