"""Asks PlusServer to do something over the connection of a receiver: record, stop, say its channels and its version.

How commands travel was read in PlusLib's own sources (src/PlusServer/vtkPlusOpenIGTLinkServer.cxx, vtkPlusCommandProcessor.cxx): as COMMAND with the
reply RTS_COMMAND from header version 2 on, before as STRING from the device CMD_<id> with the reply STRING from ACK_<id>, or, when the command
itself could not be read, from CMD. A number that was used among the last ten is ignored by the server.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, ParseError, tostring

from ..errors import LinkError
from .messages import CommandMessage, Message, StringMessage
from .receiver import Receiver

DEVICE = "LiverLesionSeg"
_numbers = itertools.count(int(time.time()) % 1_000_000 * 100)
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Reply:
    """What the server answered: its message, and what came beside it as key -> text (nothing with header version 1)."""

    text: str
    values: Mapping[str, str] = field(default_factory=dict)


def ask(receiver: Receiver, name: str, attributes: Mapping[str, str] | None = None, *, timeout_s: float = 5.0) -> Reply:
    """Send the command `name` with its XML attributes and wait for the reply.

    The form is that of the receiver's header version. Raises LinkError when there is no connection, no reply within `timeout_s`, or the server fails.
    """
    number = next(_numbers) % 0x7FFFFFFF
    text = tostring(Element("Command", {"Name": name, **{key: value for key, value in (attributes or {}).items() if value}}), encoding="unicode")
    place = f"{receiver.host}:{receiver.port}"
    modern = receiver.settings.header_version > 1
    command: Message
    if modern:
        command = CommandMessage(device=DEVICE, timestamp=receiver.now(), command_id=number, name=name, text=text, is_reply=False)
    else:
        command = StringMessage(device=f"CMD_{number}", timestamp=receiver.now(), text=text)

    def is_reply(message: Message) -> bool:
        if isinstance(message, CommandMessage):
            return message.is_reply and message.command_id == number
        # The reply from plain CMD has no number: it is ours because one command is under way at a time.
        return isinstance(message, StringMessage) and message.device in (f"ACK_{number}", "CMD") and not modern

    with _one_at_a_time, receiver.watch(is_reply) as replies:
        receiver.send(command, version=2 if modern else 1)
        try:
            message = replies.get(timeout=timeout_s)
        except queue.Empty:
            raise LinkError(
                f"{place} did not answer {name} within {timeout_s:g} s; check that it is a PlusServer and that no other program blocks it."
            ) from None
    values = _attributes(message)
    if values.get("Status", "").upper() != "SUCCESS":
        reason = values.get("Error") or values.get("Message") or "no reason given"
        raise LinkError(f"{place} refused {name}: {' '.join(reason.split())[:500]}; look at the server's log.")
    return Reply(values.get("Message", ""), {key: value for key, value in values.items() if key not in ("Status", "Error", "Message", "Name")})


def _attributes(reply: Message) -> dict[str, str]:
    """Status, Message, Error and more of a reply: of its XML, and of its metadata, which win as they are never escaped wrongly."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    text = reply.text if isinstance(reply, (CommandMessage, StringMessage)) else ""
    values: dict[str, str] = {}
    try:
        root = fromstring(text)
        values = dict(root.attrib)
        # Older servers nest them: <Message>...</Message>, <Result>true</Result>
        values.update({child.tag: child.text or "" for child in root if child.tag in ("Message", "Error")})
        if (result := root.findtext("Result")) is not None:
            values["Status"] = "SUCCESS" if result.strip().lower() == "true" else "FAIL"
    except (ParseError, DefusedXmlException):
        # PlusServer does not escape what it puts into an RTS_COMMAND; without metadata the text itself is all there is.
        values = {"Message": text}
    return {**values, **reply.metadata}


def start_recording(receiver: Receiver, output_file: str = "", *, capture_device: str = "", channel: str = "", timeout_s: float = 5.0) -> Reply:
    """StartRecording on the server's own disk. The server needs a VirtualCapture's id or, to make one, a channel's; one of both has to be given.

    output_file: its name there; empty: what the server's configuration says. Raises LinkError.
    """
    return _capture(receiver, "StartRecording", output_file, capture_device, channel, timeout_s)


def stop_recording(receiver: Receiver, output_file: str = "", *, capture_device: str = "", channel: str = "", timeout_s: float = 30.0) -> Reply:
    """StopRecording, with the same ids as it was started with; the reply's text says how many frames went to which file. Raises LinkError.

    output_file: a name that replaces the one it was started with. Writing the file takes the server its time: `timeout_s` is longer.
    """
    return _capture(receiver, "StopRecording", output_file, capture_device, channel, timeout_s)


def _capture(receiver: Receiver, name: str, output_file: str, capture_device: str, channel: str, timeout_s: float) -> Reply:
    if not capture_device and not channel:
        raise LinkError(f"{name} needs the id of a capture device or of a channel; ask for the channels and give one.")
    attributes = {"OutputFilename": output_file, "CaptureDeviceId": capture_device, "ChannelId": channel}
    return ask(receiver, name, attributes, timeout_s=timeout_s)


def channel_ids(receiver: Receiver, *, timeout_s: float = 5.0) -> tuple[str, ...]:
    """RequestChannelIds: the ids of every device's output channels. Raises LinkError."""
    reply = ask(receiver, "RequestChannelIds", timeout_s=timeout_s)
    return tuple(reply.values) or tuple(name.strip() for name in reply.text.split(",") if name.strip())


def version(receiver: Receiver, *, timeout_s: float = 5.0) -> Mapping[str, str]:
    """Version: PlusVersion, IGTLProtocolVersion, IGTLHeaderVersion; empty with header version 1, whose replies cannot hold them. Raises LinkError."""
    return ask(receiver, "Version", timeout_s=timeout_s).values
