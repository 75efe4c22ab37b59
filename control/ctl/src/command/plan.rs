//! `plan`: what `apply` would change.

use api::v1;
use api::v1::config_client::ConfigClient;
use serde::Serialize;
use serde_json::Value;
use tokio_stream::StreamExt as _;

use crate::args::Changes;
use crate::command::apply;
use crate::command::objects::{self, json};
use crate::failure::Failure;
use crate::gateway::{GatewayArgs, LARGEST_MESSAGE};
use crate::output::{self, Format};
use crate::units::count;

#[derive(Serialize)]
struct Change {
    action: &'static str,
    kind: String,
    name: String,
    fields: Vec<String>,
    before: Option<Value>,
    after: Option<Value>,
}

pub(crate) async fn run(args: &GatewayArgs, format: Format, changes: Changes) -> Result<(), Failure> {
    let stream = apply::stream(&changes)?;
    let gateway = args.connect().await?;
    let mut client = ConfigClient::new(gateway.channel()).max_decoding_message_size(LARGEST_MESSAGE);
    let response =
        client.plan(tokio_stream::iter(stream)).await.map_err(|status| gateway.failure(&status))?;
    let mut parts = response.into_inner();
    let (mut planned, mut refused) = (Vec::new(), None);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|status| gateway.failure(&status))?;
        apply::warn(&part.warnings);
        refused = refused.or(part.refused);
        planned.extend(part.changes.iter().filter_map(change));
    }
    if let Some(refused) = refused {
        return Err(apply::refusal(&refused));
    }
    output::value(format, &planned, text(&planned).trim_end())?;
    Ok(())
}

fn change(planned: &v1::PlannedChange) -> Option<Change> {
    let action = match planned.action() {
        v1::planned_change::Action::Create => "create",
        v1::planned_change::Action::Replace => "replace",
        v1::planned_change::Action::Delete => "delete",
        v1::planned_change::Action::Unspecified => return None,
    };
    let object = planned.after.as_ref().or(planned.before.as_ref())?;
    Some(Change {
        action,
        kind: objects::kind(object).to_owned(),
        name: object.name.clone(),
        fields: planned.fields.clone(),
        before: planned.before.as_ref().map(json),
        after: planned.after.as_ref().map(json),
    })
}

fn text(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let sign = match change.action {
            "create" => '+',
            "replace" => '~',
            _ => '-',
        };
        text.push_str(&format!("{sign} {}/{}\n", change.kind, change.name));
        for field in &change.fields {
            let old = objects::field(change.before.as_ref(), field);
            let new = objects::field(change.after.as_ref(), field);
            text.push_str(&format!("    {field}: {old} -> {new}\n"));
        }
    }
    let how_many = |action| count(changes.iter().filter(|change| change.action == action).count() as u64);
    match changes.is_empty() {
        true => "nothing would change\n".to_owned(),
        false => {
            format!(
                "{text}{} to create, {} to replace, {} to delete\n",
                how_many("create"),
                how_many("replace"),
                how_many("delete")
            )
        }
    }
}
