"""The teacher: engines that complete chats, modes that make samples of them, the sampler that drives both."""
