"""TRex, stateful (ASTF): a TCP connection for every request of 64 octets and answer of 512, as the load `tcp` of `sluice-perf`
opens and closes them, but with a real TCP at both ends.

    start -f tcp.py -m 1 -d 60 -t --cps 100000

Clients sit behind the gateway on port 0, servers in front of it on port 1; these see the gateway's outside addresses and answer
whoever calls. Not run on a real NIC by its authors: see docs/perf-lab.md.
"""

import argparse

from trex.astf.api import *

REQUEST = b"q" * 64
ANSWER = b"a" * 512


class Tcp:
    def get_profile(self, tunables=(), **kwargs):
        parser = argparse.ArgumentParser(prog="tcp.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--cps", type=float, default=10000, help="connections a second with -m 1")
        parser.add_argument("--clients", default="10.2.0.1-10.2.15.254", help="first and last inside address")
        parser.add_argument("--servers", default="198.18.0.1-198.18.0.254", help="first and last outside address")
        args = parser.parse_args(list(tunables))
        client = ASTFProgram()
        client.send(REQUEST)
        client.recv(len(ANSWER))
        server = ASTFProgram()
        server.recv(len(REQUEST))
        server.send(ANSWER)
        hosts = ASTFIPGen(glob=ASTFIPGenGlobal(ip_offset="0.0.0.0"),
                          dist_client=ASTFIPGenDist(ip_range=args.clients.split("-"), distribution="seq"),
                          dist_server=ASTFIPGenDist(ip_range=args.servers.split("-"), distribution="seq"))
        template = ASTFTemplate(client_template=ASTFTCPClientTemplate(program=client, ip_gen=hosts, cps=args.cps, port=443),
                                server_template=ASTFTCPServerTemplate(program=server, assoc=ASTFAssociationRule(port=443)))
        return ASTFProfile(default_ip_gen=hosts, templates=template)


def register():
    return Tcp()
