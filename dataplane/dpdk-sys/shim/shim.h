/* What Rust sees of DPDK beyond plain functions: static inlines as functions, RTE_BIT64 macros
 * as constants (bindgen drops them silently), and flat structs in place of those whose fields
 * move from one release to the next. */
#ifndef SLUICE_SHIM_H
#define SLUICE_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_config.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

static const uint64_t SHIM_MBUF_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t SHIM_MBUF_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t SHIM_MBUF_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SHIM_MBUF_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t SHIM_MBUF_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t SHIM_MBUF_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t SHIM_MBUF_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t SHIM_MBUF_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t SHIM_MBUF_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;
static const uint64_t SHIM_MBUF_TX_L4_MASK = RTE_MBUF_F_TX_L4_MASK;
static const uint32_t SHIM_MBUF_L2_LEN_BITS = RTE_MBUF_L2_LEN_BITS;

static const uint64_t SHIM_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_RX_OFFLOAD_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t SHIM_RX_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SHIM_TX_OFFLOAD_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_TX_OFFLOAD_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t SHIM_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;

static const uint64_t SHIM_RSS_IPV4 = RTE_ETH_RSS_IPV4;
static const uint64_t SHIM_RSS_FRAG_IPV4 = RTE_ETH_RSS_FRAG_IPV4;
static const uint64_t SHIM_RSS_NONFRAG_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t SHIM_RSS_NONFRAG_IPV4_UDP = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t SHIM_RSS_NONFRAG_IPV4_OTHER = RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
static const uint64_t SHIM_RSS_L3_SRC_ONLY = RTE_ETH_RSS_L3_SRC_ONLY;
static const uint64_t SHIM_RSS_L4_SRC_ONLY = RTE_ETH_RSS_L4_SRC_ONLY;

static const uint32_t SHIM_LOG_ERROR = RTE_LOG_ERR;
static const uint32_t SHIM_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint32_t SHIM_RING_SPSC_EXACT = RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ;

/* What a device offers. */
struct shim_port_info {
	char driver[64];
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t rx_descriptors_max;
	uint16_t tx_descriptors_max;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint32_t max_frame;
	uint32_t if_index;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
	uint16_t reta_size;
	uint8_t rss_key_size;
};

/* What a device is configured with. */
struct shim_port_config {
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types; /* 0: no RSS */
	const uint8_t *rss_key;
	uint8_t rss_key_size;
	uint32_t mtu; /* 0: the driver's choice */
	bool rx_interrupts;
};

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

struct shim_link {
	uint32_t speed_mbps; /* UINT32_MAX: unknown */
	bool up;
	bool full_duplex;
};

typedef void (*shim_log_sink)(uint32_t level, const char *text, size_t length);

/* All return 0 or a negative errno unless said otherwise. */
int shim_log_open(shim_log_sink sink);
int shim_errno(void);

int shim_port_info(uint16_t port, struct shim_port_info *info);
int shim_port_configure(uint16_t port, const struct shim_port_config *config);
int shim_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, uint32_t socket, struct rte_mempool *pool);
int shim_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, uint32_t socket, uint64_t offloads);
int shim_mac(uint16_t port, uint8_t mac[6]);
int shim_stats(uint16_t port, struct shim_stats *stats);
int shim_link(uint16_t port, struct shim_link *link);
/* Points every entry of the redirection table at queues 0 to queues - 1 in turn. */
int shim_reta_spread(uint16_t port, uint16_t reta_size, uint16_t queues);

/* Packets of several segments are joined into one; those that do not fit are freed and added to
 * `*too_long`. Every mbuf given is one segment and belongs to the caller. */
uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n, uint64_t *too_long);
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n);
uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n);

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool);
int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n);
void shim_mbuf_free(struct rte_mbuf *packet);
void shim_mbuf_free_bulk(struct rte_mbuf **packets, unsigned int n);
/* Takes these 8 octets of the dynamic area in the mbuf for Sluice's tag; -1 when another has them. */
int shim_mbuf_claim_tag(size_t offset);

unsigned int shim_ring_enqueue(struct rte_ring *ring, struct rte_mbuf *const *packets, unsigned int n);
unsigned int shim_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **packets, unsigned int n);
unsigned int shim_ring_count(const struct rte_ring *ring);

uint32_t shim_mempool_size(const struct rte_mempool *pool);
uint32_t shim_mempool_cache_size(const struct rte_mempool *pool);
uint32_t shim_mempool_element_size(const struct rte_mempool *pool);
uint32_t shim_lcore_id(void);

#endif
