"""Turn recordings and videos into segments: speech, other sounds, frames.

`decode` yields sound and pictures on one clock. `voice_activity` finds the speech, `transcribers` turn it into words,
`speech_passages` groups those into passages; `sounds` finds what else there is to hear; `shots` selects frames. `audio`
and `video` put all of it together.
"""
