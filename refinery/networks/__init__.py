"""Networks, one file each; a member defines `build(channels, **settings) -> nn.Module`."""
