"""Audio: recordings as waveforms, front ends that make spectrograms, views of both."""
