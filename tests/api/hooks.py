"""What Schemathesis has to be told: media types whose bodies are text."""

import schemathesis

schemathesis.serializer.alias(
    ["application/sdp", "application/trickle-ice-sdpfrag"], "text/plain"
)
