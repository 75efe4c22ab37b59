//! A packet generator over DPDK ports: a schedule of packets, flows drawn at random, and for each
//! packet that comes back its latency from when it was due.
