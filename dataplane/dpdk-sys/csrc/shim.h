/*
 * What Rust cannot call or read by itself: static inline functions, constants that are
 * macros with casts, and structures whose fields move between DPDK releases (those are
 * copied into flat ones of our own here, by name, so that any release compiles).
 */
#ifndef SLUICE_SHIM_H
#define SLUICE_SHIM_H

#include <stdbool.h>
#include <stddef.h>
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
	/* 0: the driver's own */
	uint32_t mtu;
	/* Asks for a descriptor to wait on for each receive queue (net_tap has them). */
	bool rx_interrupts;
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

/* RTE_BIT64 macros, which bindgen drops without a word; as variables it gives them as constants. */
static const uint64_t SHIM_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_RX_OFFLOAD_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t SHIM_RX_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SHIM_TX_OFFLOAD_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_TX_OFFLOAD_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t SHIM_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t SHIM_RSS_UDP = RTE_ETH_RSS_UDP;
static const uint64_t SHIM_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t SHIM_RSS_L3_SRC_ONLY = RTE_ETH_RSS_L3_SRC_ONLY;

/* The flags and masks of rte_mbuf::ol_flags that the packet path reads or writes. */
static const uint64_t SHIM_MBUF_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t SHIM_MBUF_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t SHIM_MBUF_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SHIM_MBUF_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t SHIM_MBUF_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t SHIM_MBUF_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t SHIM_MBUF_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t SHIM_MBUF_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t SHIM_MBUF_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t SHIM_MBUF_TX_L4_MASK = RTE_MBUF_F_TX_L4_MASK;
static const uint64_t SHIM_MBUF_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t SHIM_MBUF_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;

/*
 * Sends DPDK's log to `line` instead of stderr: the level (RTE_LOG_ERR...) and the text, which
 * is not terminated. Call it before rte_eal_init. Returns 0, or -1 with errno set.
 */
typedef void (*shim_log_line)(uint32_t level, const char *text, size_t length);
int shim_log_to(shim_log_line line);
/*
 * The same for libbpf and libxdp, which the AF_XDP driver brings along and which say on stderr why
 * a program did not load. Call it after rte_eal_init. Does nothing where they are not loaded.
 */
void shim_log_bpf(void);

int shim_errno(void);
uint64_t shim_rdtsc(void);
/* The id of the calling thread, or UINT32_MAX if it is not registered. */
unsigned int shim_lcore_id(void);

int shim_port_info(uint16_t port, struct shim_port_info *out);
int shim_port_configure(uint16_t port, const struct shim_port_conf *conf);
int shim_port_link(uint16_t port, struct shim_link *out);
int shim_port_stats(uint16_t port, struct shim_stats *out);
int shim_port_mac(uint16_t port, uint8_t out[6]);

int shim_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, unsigned int socket, struct rte_mempool *pool);
int shim_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, unsigned int socket, uint64_t offloads);

/*
 * Gives packets of one segment only: some drivers split what is longer than an mbuf. Those are
 * joined where one mbuf holds them; the others are freed and counted in `*too_long`.
 */
uint16_t shim_rx_burst_joined(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count, uint64_t *too_long);
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

struct rte_mempool *shim_pool_packed(const char *name, unsigned int mbufs, unsigned int cache, uint16_t data_room, int socket);
struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool);
int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
void shim_mbuf_free(struct rte_mbuf *mbuf);
void shim_mbuf_free_bulk(struct rte_mbuf **mbufs, unsigned int count);
/* Takes the 8 octets of the dynamic area at `offset` for rte_mbuf::tag; -1 when others have them. Once, after init. */
int shim_mbuf_claim_tag(size_t offset);

/* For a ring with one producer and one consumer: no compare-and-swap. */
unsigned int shim_ring_sp_enqueue(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count);
unsigned int shim_ring_sc_dequeue(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count);
unsigned int shim_ring_count(const struct rte_ring *ring);
unsigned int shim_ring_capacity(const struct rte_ring *ring);

#endif
