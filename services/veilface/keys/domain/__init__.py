"""The rules of the key service, free of gRPC and protobuf."""
