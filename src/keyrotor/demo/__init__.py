"""A throw-away lab: real sops, a real age identity, a gateway with LiteLLM's own answers, one playbook.

Owns: what `keyrotor demo`, `make bench` and the tests on real parts build and take down again. Rules:
1. The lab stands outside of the program it is there to try: nothing of keyrotor is imported but its errors, and it
   runs commands with `subprocess` itself. `gateway` and `child` are programs of their own, on the standard library
   alone, so that systemd can start them by path whether keyrotor is installed or not.
2. Every secret is made at run time; none stands in the code, in an argument list or in a plaintext file, but for the
   env file and the client file that a rotation is about.
3. Loopback only, one folder, and only processes that the lab itself started are ever ended.
"""
