//! Everything that crosses between the control plane and the shards.
