"""TRex, stateless: the UDP loads of `sluice-perf`, from hosts behind the gateway to hosts in front of it.

    start -f udp.py -p 0 -m 5mpps -t --load established --flows 1048576
    start -f udp.py -p 0 -m 1mpps -t --load new
    start -f udp.py -p 0 -m 40%   -t --load imix --flows 65536

Loads: established (64 octets, flows drawn uniformly at random), new (64 octets, every packet the next flow, so that it opens a
session where there are more flows than the gateway keeps), imix (64, 594 and 1,518 octets, 7:4:1, flows at random).
--latency-pps adds a stream by which TRex measures latency. Not run on a real NIC by its authors: see docs/perf-lab.md.
"""

import argparse
import ipaddress

from trex_stl_lib.api import *

# Flows of one inside host, as the other loads have it: half of a port block of 512.
PER_SOURCE = 256
FIRST_PORT = 20000
FCS = 4
SIZES = {"established": [(64, 1)], "new": [(64, 1)], "imix": [(64, 7), (594, 4), (1518, 1)]}


class Udp:
    def packet(self, args, size):
        """One frame of that size, and the program that gives each copy its flow and its checksums."""
        head = Ether() / IP(src=str(args.sources), dst=str(args.targets)) / UDP(sport=FIRST_PORT, dport=443)
        pad = "x" * (size - FCS - len(head))
        hosts = max(1, args.flows // PER_SOURCE)
        first, last = args.sources, args.sources + hosts - 1
        if args.load == "new":
            # One counter over hosts and ports: no flow comes again before all others have come.
            flow = STLVmTupleGen(name="flow", ip_min=str(first), ip_max=str(last), port_min=FIRST_PORT,
                                 port_max=FIRST_PORT + PER_SOURCE - 1, limit_flows=args.flows)
            steps = [flow, STLVmWrFlowVar(fv_name="flow.ip", pkt_offset="IP.src"),
                     STLVmWrFlowVar(fv_name="flow.port", pkt_offset="UDP.sport")]
        else:
            steps = [STLVmFlowVar(name="source", min_value=str(first), max_value=str(last), size=4, op="random"),
                     STLVmFlowVar(name="port", min_value=FIRST_PORT, max_value=FIRST_PORT + PER_SOURCE - 1, size=2, op="random"),
                     STLVmWrFlowVar(fv_name="source", pkt_offset="IP.src"),
                     STLVmWrFlowVar(fv_name="port", pkt_offset="UDP.sport")]
        # Both checksums, since a gateway that finds none has less to do.
        steps.append(STLVmFixChecksumHw(l3_offset="IP", l4_offset="UDP", l4_type=CTRexVmInsFixHwCs.L4_TYPE_UDP))
        return STLPktBuilder(pkt=head / pad, vm=STLScVmRaw(steps))

    def get_streams(self, direction=0, tunables=(), **kwargs):
        parser = argparse.ArgumentParser(prog="udp.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--load", choices=sorted(SIZES), default="established")
        parser.add_argument("--flows", type=int, default=65536, help=f"{PER_SOURCE} from each source address")
        parser.add_argument("--sources", type=ipaddress.IPv4Address, default="10.2.0.1", help="the first source address")
        parser.add_argument("--targets", type=ipaddress.IPv4Address, default="198.18.0.10", help="the address that is sent to")
        parser.add_argument("--latency-pps", type=int, default=0, help="packets a second of a stream for latency")
        parser.add_argument("--seed", type=int, default=1)
        args = parser.parse_args(list(tunables))
        # Rates are shares here; -m of the console scales them all.
        streams = [STLStream(packet=self.packet(args, size), mode=STLTXCont(pps=share), random_seed=args.seed + size)
                   for size, share in SIZES[args.load]]
        if args.latency_pps:
            head = Ether() / IP(src=str(args.sources), dst=str(args.targets)) / UDP(sport=FIRST_PORT, dport=443)
            probe = STLPktBuilder(pkt=head / ("x" * (128 - FCS - len(head))))
            streams.append(STLStream(packet=probe, mode=STLTXCont(pps=args.latency_pps), flow_stats=STLFlowLatencyStats(pg_id=7)))
        return streams


def register():
    return Udp()
