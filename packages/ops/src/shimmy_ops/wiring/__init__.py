"""The only place where the operator's tools meet their adapters: one module a matter."""
