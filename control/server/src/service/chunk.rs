//! Long lists are sent in messages of a size that every client takes.

use api::{object_message, v1};
use model::Object;
use prost::Message;

/// Octets of the elements of one message, well under the 4 MiB that clients take by default.
const OCTETS: usize = 1 << 20;

/// Splits `all` into runs of about [`OCTETS`].
pub(super) fn chunks<T: Message>(all: impl Iterator<Item = T>) -> impl Iterator<Item = Vec<T>> {
    let mut all = all;
    std::iter::from_fn(move || Some(take(&mut all)).filter(|chunk| !chunk.is_empty()))
}

/// The messages of the next objects, about [`OCTETS`] of them; empty: there are no more.
pub(super) fn next_chunk(objects: &mut std::vec::IntoIter<Object>) -> Vec<v1::Object> {
    take(&mut objects.map(|object| object_message(&object)))
}

fn take<T: Message>(all: &mut impl Iterator<Item = T>) -> Vec<T> {
    let mut octets = 0;
    let mut chunk = Vec::new();
    while octets < OCTETS {
        let Some(one) = all.next() else { break };
        octets += one.encoded_len() + 8;
        chunk.push(one);
    }
    chunk
}
