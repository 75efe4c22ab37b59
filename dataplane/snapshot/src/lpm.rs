//! Longest prefix match over IPv4: a trie of strides 16, 8 and 8.
//!
//! A look-up loads one to three words, however many routes there are. Prefixes are expanded to
//! the stride they end in, shorter ones first, so that longer ones overwrite them.

use std::net::Ipv4Addr;

/// An entry is either a value, or (this bit) the number of a node one stride down.
const NODE: u32 = 1 << 31;
/// No prefix.
const NONE: u32 = NODE - 1;

/// Values, numbers below 2^31 − 1, by prefix.
#[derive(Clone, Debug)]
pub(crate) struct Lpm {
    root: Box<[u32]>,
    nodes: Vec<[u32; 256]>,
}

impl Lpm {
    /// Compiles prefixes (address, length, value). Of equal prefixes the last one counts.
    pub(crate) fn compile(prefixes: impl IntoIterator<Item = (Ipv4Addr, u8, u32)>) -> Self {
        let mut prefixes: Vec<(Ipv4Addr, u8, u32)> = prefixes.into_iter().collect();
        prefixes.sort_by_key(|&(_, length, _)| length);
        let mut lpm = Lpm { root: vec![NONE; 1 << 16].into(), nodes: Vec::new() };
        for (address, length, value) in prefixes {
            lpm.insert(address.to_bits(), u32::from(length.min(32)), value);
        }
        lpm
    }

    /// Sets a prefix that is no shorter than any set before.
    fn insert(&mut self, bits: u32, length: u32, value: u32) {
        let top = (bits >> 16) as usize;
        if length <= 16 {
            let span = 1 << (16 - length);
            let first = top & !(span - 1);
            self.root[first..first + span].fill(value);
            return;
        }
        let middle = self.below(None, top);
        let second = (bits >> 8 & 0xff) as usize;
        if length <= 24 {
            let span = 1 << (24 - length);
            let first = second & !(span - 1);
            self.nodes[middle][first..first + span].fill(value);
            return;
        }
        let bottom = self.below(Some(middle), second);
        let third = (bits & 0xff) as usize;
        let span = 1 << (32 - length);
        let first = third & !(span - 1);
        self.nodes[bottom][first..first + span].fill(value);
    }

    /// The node under entry `at` of `node` (`None`: the root), made from the entry's value if there is none.
    fn below(&mut self, node: Option<usize>, at: usize) -> usize {
        let entry = match node {
            None => self.root[at],
            Some(node) => self.nodes[node][at],
        };
        if entry & NODE != 0 {
            return (entry & !NODE) as usize;
        }
        let new = self.nodes.len();
        self.nodes.push([entry; 256]);
        let link = NODE | new as u32;
        match node {
            None => self.root[at] = link,
            Some(node) => self.nodes[node][at] = link,
        }
        new
    }

    /// The value of the longest prefix that holds `address`.
    #[inline]
    pub(crate) fn find(&self, address: Ipv4Addr) -> Option<u32> {
        let [a, b, c, d] = address.octets();
        let mut entry = self.root[usize::from(a) << 8 | usize::from(b)];
        if entry & NODE != 0 {
            entry = self.nodes[(entry & !NODE) as usize][usize::from(c)];
            if entry & NODE != 0 {
                entry = self.nodes[(entry & !NODE) as usize][usize::from(d)];
            }
        }
        (entry != NONE).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = (Ipv4Addr, u8)> {
        // Few bits vary, so that prefixes nest.
        (any::<u32>(), 0u8..=32, 0u32..4).prop_map(|(bits, length, high)| {
            let bits = (bits & 0x0003_0303) | high << 24;
            let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
            (Ipv4Addr::from_bits(bits & mask), length)
        })
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins(
            prefixes in proptest::collection::vec(prefix(), 0..40),
            asked in proptest::collection::vec((0u32..4, any::<u32>()), 50),
        ) {
            let values = prefixes.iter().zip(0u32..).map(|(&(a, l), v)| (a, l, v));
            let lpm = Lpm::compile(values.clone());
            for (high, low) in asked {
                let address = Ipv4Addr::from_bits(high << 24 | low & 0x0003_0303);
                let holds = |a: Ipv4Addr, l: u8| {
                    l == 0 || (a.to_bits() ^ address.to_bits()) >> (32 - u32::from(l)) == 0
                };
                let want = values.clone().filter(|&(a, l, _)| holds(a, l)).max_by_key(|&(_, l, v)| (l, v));
                prop_assert_eq!(lpm.find(address), want.map(|(_, _, v)| v), "{}", address);
            }
        }
    }

    #[test]
    fn without_prefixes_nothing_is_found() {
        assert_eq!(Lpm::compile([]).find(Ipv4Addr::LOCALHOST), None);
    }
}
