//! The bounds of what a configuration may hold. Beyond them an Apply is refused whole.

/// Addresses of one pool.
pub const POOL_ADDRESSES: u64 = 4096;
/// Backends of one load balancer.
pub const BACKENDS: usize = 10_000;
/// Service addresses of one load balancer.
pub const VIPS: usize = 64;
/// Service ports of one load balancer.
pub const SERVICE_PORTS: usize = 1024;
/// Entries of any other list in one object: prefixes, exceptions, ports, rules.
pub const LIST: usize = 65_536;
/// Next hops of one route.
pub const NEXT_HOPS: usize = 64;
/// Objects of all kinds and origins.
pub const OBJECTS: usize = 500_000;
/// Origins.
pub const ORIGINS: usize = 64;
/// Characters of a name (RFC 1123).
pub const NAME: usize = 253;
/// Characters of an origin's name (one RFC 1123 label).
pub const ORIGIN: usize = 63;
/// Weight of a backend.
pub const WEIGHT: u32 = 256;
/// Ports of a block.
pub const BLOCK_SIZE: std::ops::RangeInclusive<u32> = 64..=4096;
/// Sizes that a look-up table may have: primes, so that every `skip` visits every slot.
pub const TABLE_SIZES: [u32; 11] =
    [1_021, 2_039, 4_093, 8_191, 16_381, 32_749, 65_537, 131_071, 262_139, 524_287, 1_048_573];
