"""The sections of a config, a module for each part of the work; rdistill.config puts them together."""
