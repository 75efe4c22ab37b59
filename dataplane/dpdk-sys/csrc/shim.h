/*
 * What Rust cannot call or read by itself: static inline functions, constants that are
 * macros with casts, and structures whose fields move between DPDK releases (those are
 * copied into flat ones of our own here, by name, so that any release compiles).
 */
#ifndef SLUICE_SHIM_H
#define SLUICE_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_config.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_version.h>

/* rte_eth_dev_info, flat. */
struct shim_port_info {
	char driver[64];
	struct rte_device *device;
	uint32_t if_index;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint32_t min_rx_bufsize;
	uint32_t max_rx_pktlen;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
	uint16_t reta_size;
	uint8_t hash_key_size;
};

/* What of rte_eth_conf is used, flat. */
struct shim_port_conf {
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
	const uint8_t *rss_key;
	uint8_t rss_key_len;
};

/* rte_eth_link, flat. */
struct shim_link {
	uint32_t speed_mbps;
	bool up;
	bool full_duplex;
};

/* rte_eth_stats without the per-queue arrays that newer releases do not have. */
struct shim_stats {
	uint64_t rx_packets;
	uint64_t tx_packets;
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t tx_errors;
	uint64_t rx_no_mbuf;
};

extern const uint64_t SHIM_RX_OFFLOAD_IPV4_CKSUM;
extern const uint64_t SHIM_RX_OFFLOAD_UDP_CKSUM;
extern const uint64_t SHIM_RX_OFFLOAD_TCP_CKSUM;
extern const uint64_t SHIM_RX_OFFLOAD_RSS_HASH;
extern const uint64_t SHIM_TX_OFFLOAD_IPV4_CKSUM;
extern const uint64_t SHIM_TX_OFFLOAD_UDP_CKSUM;
extern const uint64_t SHIM_TX_OFFLOAD_TCP_CKSUM;
extern const uint64_t SHIM_RSS_IP;
extern const uint64_t SHIM_RSS_UDP;
extern const uint64_t SHIM_RSS_TCP;
extern const uint64_t SHIM_RSS_L3_SRC_ONLY;

/* The flags and masks of rte_mbuf::ol_flags that the packet path reads or writes. */
extern const uint64_t SHIM_MBUF_RX_RSS_HASH;
extern const uint64_t SHIM_MBUF_RX_IP_CKSUM_MASK;
extern const uint64_t SHIM_MBUF_RX_IP_CKSUM_GOOD;
extern const uint64_t SHIM_MBUF_RX_IP_CKSUM_BAD;
extern const uint64_t SHIM_MBUF_RX_L4_CKSUM_MASK;
extern const uint64_t SHIM_MBUF_RX_L4_CKSUM_GOOD;
extern const uint64_t SHIM_MBUF_RX_L4_CKSUM_BAD;
extern const uint64_t SHIM_MBUF_TX_IPV4;
extern const uint64_t SHIM_MBUF_TX_IP_CKSUM;
extern const uint64_t SHIM_MBUF_TX_L4_MASK;
extern const uint64_t SHIM_MBUF_TX_TCP_CKSUM;
extern const uint64_t SHIM_MBUF_TX_UDP_CKSUM;

int shim_errno(void);
uint64_t shim_rdtsc(void);
/* The id of the calling thread, or UINT32_MAX if it is not registered. */
unsigned int shim_lcore_id(void);

int shim_port_info(uint16_t port, struct shim_port_info *out);
int shim_port_configure(uint16_t port, const struct shim_port_conf *conf);
int shim_port_link(uint16_t port, struct shim_link *out);
int shim_port_stats(uint16_t port, struct shim_stats *out);
int shim_port_mac(uint16_t port, uint8_t out[6]);

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool);
int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
void shim_mbuf_free(struct rte_mbuf *mbuf);
uint16_t shim_mbuf_refcnt(const struct rte_mbuf *mbuf);

unsigned int shim_ring_enqueue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count);
unsigned int shim_ring_dequeue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count);
unsigned int shim_ring_count(const struct rte_ring *ring);
unsigned int shim_ring_capacity(const struct rte_ring *ring);

#endif
