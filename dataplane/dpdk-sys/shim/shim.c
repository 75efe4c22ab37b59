/* The bodies of shim.h, and the assertions that the hand-written Rust view of an mbuf rests on. */
#include "shim.h"

#include <stdio.h>
#include <string.h>

#include <rte_log.h>
#include <rte_mbuf_dyn.h>

/* src/mbuf.rs has these offsets. */
#define AT(field, offset) _Static_assert(offsetof(struct rte_mbuf, field) == (offset), "rte_mbuf." #field " has moved")
AT(buf_addr, 0);
AT(data_off, 16);
AT(refcnt, 18);
AT(nb_segs, 20);
AT(port, 22);
AT(ol_flags, 24);
AT(packet_type, 32);
AT(pkt_len, 36);
AT(data_len, 40);
AT(vlan_tci, 42);
AT(hash.rss, 44);
AT(buf_len, 54);
AT(pool, 56);
AT(tx_offload, 72);
AT(dynfield1, 92);
_Static_assert(sizeof(struct rte_mbuf) == 128, "rte_mbuf has another size");
_Static_assert(RTE_MBUF_L2_LEN_BITS == 7 && RTE_MBUF_L3_LEN_BITS == 9, "tx_offload has other fields");

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	shim_log_sink sink = (shim_log_sink)cookie;
	int level = rte_log_cur_msg_loglevel();
	sink(level < 0 ? RTE_LOG_INFO : (uint32_t)level, text, length);
	return (ssize_t)length;
}

int shim_log_open(shim_log_sink sink)
{
	cookie_io_functions_t io = { .write = log_write };
	FILE *stream = fopencookie((void *)sink, "w", io);
	if (stream == NULL)
		return -ENOMEM;
	/* A whole message at a time: rte_log flushes after each. */
	setvbuf(stream, NULL, _IOFBF, 4096);
	return rte_openlog_stream(stream);
}

int shim_errno(void)
{
	return rte_errno;
}

int shim_port_info(uint16_t port, struct shim_port_info *out)
{
	struct rte_eth_dev_info info;
	memset(&info, 0, sizeof(info));
	memset(out, 0, sizeof(*out));
	int ret = rte_eth_dev_info_get(port, &info);
	if (ret != 0)
		return ret;
	if (info.driver_name != NULL)
		snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name);
	out->max_rx_queues = info.max_rx_queues;
	out->max_tx_queues = info.max_tx_queues;
	out->rx_descriptors_max = info.rx_desc_lim.nb_max;
	out->tx_descriptors_max = info.tx_desc_lim.nb_max;
	out->min_mtu = info.min_mtu;
	out->max_mtu = info.max_mtu;
	out->max_frame = info.max_rx_pktlen;
	out->if_index = info.if_index;
	out->rx_offloads = info.rx_offload_capa;
	out->tx_offloads = info.tx_offload_capa;
	out->rss_types = info.flow_type_rss_offloads;
	out->reta_size = info.reta_size;
	out->rss_key_size = info.hash_key_size;
	return 0;
}

int shim_port_configure(uint16_t port, const struct shim_port_config *config)
{
	struct rte_eth_conf conf;
	memset(&conf, 0, sizeof(conf));
	conf.rxmode.offloads = config->rx_offloads;
	conf.txmode.offloads = config->tx_offloads;
	conf.rxmode.mtu = config->mtu;
	conf.intr_conf.rxq = config->rx_interrupts ? 1 : 0;
	if (config->rss_types != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)config->rss_key;
		conf.rx_adv_conf.rss_conf.rss_key_len = config->rss_key_size;
		conf.rx_adv_conf.rss_conf.rss_hf = config->rss_types;
	}
	return rte_eth_dev_configure(port, config->rx_queues, config->tx_queues, &conf);
}

int shim_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, uint32_t socket, struct rte_mempool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, socket, NULL, pool);
}

int shim_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, uint32_t socket, uint64_t offloads)
{
	struct rte_eth_dev_info info;
	int ret = rte_eth_dev_info_get(port, &info);
	if (ret != 0)
		return ret;
	struct rte_eth_txconf conf = info.default_txconf;
	conf.offloads = offloads;
	return rte_eth_tx_queue_setup(port, queue, descriptors, socket, &conf);
}

int shim_mac(uint16_t port, uint8_t mac[6])
{
	struct rte_ether_addr address;
	int ret = rte_eth_macaddr_get(port, &address);
	if (ret == 0)
		memcpy(mac, address.addr_bytes, 6);
	return ret;
}

int shim_stats(uint16_t port, struct shim_stats *out)
{
	struct rte_eth_stats stats;
	memset(&stats, 0, sizeof(stats));
	int ret = rte_eth_stats_get(port, &stats);
	if (ret != 0)
		return ret;
	out->rx_packets = stats.ipackets;
	out->tx_packets = stats.opackets;
	out->rx_bytes = stats.ibytes;
	out->tx_bytes = stats.obytes;
	out->rx_missed = stats.imissed;
	out->rx_errors = stats.ierrors;
	out->tx_errors = stats.oerrors;
	out->rx_no_mbuf = stats.rx_nombuf;
	return 0;
}

int shim_link(uint16_t port, struct shim_link *out)
{
	struct rte_eth_link link;
	memset(&link, 0, sizeof(link));
	int ret = rte_eth_link_get_nowait(port, &link);
	if (ret != 0)
		return ret;
	out->speed_mbps = link.link_speed;
	out->up = link.link_status == RTE_ETH_LINK_UP;
	out->full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return 0;
}

int shim_reta_spread(uint16_t port, uint16_t reta_size, uint16_t queues)
{
	struct rte_eth_rss_reta_entry64 reta[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];
	if (queues == 0 || reta_size > RTE_ETH_RSS_RETA_SIZE_512)
		return -EINVAL;
	memset(reta, 0, sizeof(reta));
	for (uint16_t i = 0; i < reta_size; i++) {
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % queues;
	}
	return rte_eth_dev_rss_reta_update(port, reta, reta_size);
}

/* Rare: only a device that scatters, or a driver that splits what is longer than one mbuf. */
static __rte_noinline uint16_t join_segments(struct rte_mbuf **packets, uint16_t n, uint64_t *too_long)
{
	uint16_t kept = 0;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *packet = packets[i];
		if (packet->nb_segs != 1 && rte_pktmbuf_linearize(packet) != 0) {
			rte_pktmbuf_free(packet);
			++*too_long;
			continue;
		}
		packets[kept++] = packet;
	}
	return kept;
}

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n, uint64_t *too_long)
{
	uint16_t received = rte_eth_rx_burst(port, queue, packets, n);
	uint16_t segments = 1;
	for (uint16_t i = 0; i < received; i++)
		segments |= packets[i]->nb_segs;
	return likely(segments == 1) ? received : join_segments(packets, received, too_long);
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, packets, n);
}

uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
	return rte_eth_tx_prepare(port, queue, packets, n);
}

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, packets, n);
}

void shim_mbuf_free(struct rte_mbuf *packet)
{
	rte_pktmbuf_free(packet);
}

void shim_mbuf_free_bulk(struct rte_mbuf **packets, unsigned int n)
{
	rte_pktmbuf_free_bulk(packets, n);
}

int shim_mbuf_claim_tag(size_t offset)
{
	static const struct rte_mbuf_dynfield tag = { .name = "sluice_tag", .size = 8, .align = 8 };
	return rte_mbuf_dynfield_register_offset(&tag, offset) == (int)offset ? 0 : -1;
}

unsigned int shim_ring_enqueue(struct rte_ring *ring, struct rte_mbuf *const *packets, unsigned int n)
{
	return rte_ring_sp_enqueue_burst(ring, (void *const *)packets, n, NULL);
}

unsigned int shim_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **packets, unsigned int n)
{
	return rte_ring_sc_dequeue_burst(ring, (void **)packets, n, NULL);
}

unsigned int shim_ring_count(const struct rte_ring *ring)
{
	return rte_ring_count(ring);
}

uint32_t shim_mempool_size(const struct rte_mempool *pool)
{
	return pool->size;
}

uint32_t shim_mempool_cache_size(const struct rte_mempool *pool)
{
	return pool->cache_size;
}

uint32_t shim_mempool_element_size(const struct rte_mempool *pool)
{
	return pool->header_size + pool->elt_size + pool->trailer_size;
}

uint32_t shim_lcore_id(void)
{
	return rte_lcore_id();
}
