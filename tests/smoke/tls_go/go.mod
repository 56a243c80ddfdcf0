module weir.dev/tests/smoke/tls_go

go 1.19
