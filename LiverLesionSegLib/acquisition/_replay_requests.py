"""What the replay server answers. Forms of the replies: vtkPlusOpenIGTLinkServer.cxx and the Commands folder of PlusLib.

It differs from PlusServer where that would leave a client waiting: a command that cannot be read is answered, too, and always under its own number;
and the interval of STT_TDATA is in ms, as the protocol has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from xml.sax.saxutils import quoteattr

from .. import __version__
from ._replay_client import ReplayClient
from ._replay_settings import HIGHEST_HEADER
from .messages import (
    CommandMessage,
    Message,
    StartTrackingMessage,
    StatusMessage,
    StatusRequestMessage,
    StopTrackingMessage,
    StringMessage,
    TrackingReplyMessage,
)

DEVICE_ID, CHANNEL_ID = "ReplayDevice", "ReplayStream"
PROTOCOL_VERSION = "3"
RECORDING = frozenset({"StartRecording", "SuspendRecording", "ResumeRecording", "StopRecording", "AddRecordingDevice"})
OK_CODE = 1
LONGEST_NUMBER = 10
_FAILED = "Command failed. See error message."


def answers(message: Message, client: ReplayClient) -> list[Message]:
    """The replies to one message of `client`, whose wishes (TDATA and how often) are noted in it. What asks for nothing gets none."""
    if isinstance(message, StatusRequestMessage):
        return [StatusMessage("", code=OK_CODE, subcode=0, name="", text="")]
    if isinstance(message, StartTrackingMessage):
        client.interval_s, client.last_tracking_stamp = max(message.resolution_ms, 0) / 1000.0, None
        return [TrackingReplyMessage("")]
    if isinstance(message, StopTrackingMessage):
        client.interval_s = None
        return [TrackingReplyMessage("")]
    if isinstance(message, CommandMessage) and not message.is_reply:
        return _answer_command(message, client)
    if isinstance(message, StringMessage) and message.device.split("_", 1)[0].upper() == "CMD":
        return _answer_string(message, client)
    return []


def _answer_command(message: CommandMessage, client: ReplayClient) -> list[Message]:
    if _repeated(message.command_id, client):
        return []
    error, text, values = execute(message.name or _name_in(message.text))
    status = "FAIL" if error else "SUCCESS"
    said = f" Error={quoteattr(error)}" if error else ""
    content = f"<CommandReply Name={quoteattr(message.name)} Status={quoteattr(status)}{said} Message={quoteattr(text)}></CommandReply>"
    metadata = {"Message": text, **values, "Status": status, **({"Error": error} if error else {})}
    return [replace(message, timestamp=0.0, metadata=metadata, text=content, is_reply=True)]


def _answer_string(message: StringMessage, client: ReplayClient) -> list[Message]:
    number = message.device.partition("_")[2]
    if not (number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER):
        return [_string_reply("ACK", "Malformed DeviceName. Expected CMD_cmdId (ex: CMD_001)", ok=False)]
    if _repeated(int(number), client):
        return []
    error, text, values = execute(_name_in(message.text))
    reply = _string_reply(f"ACK_{int(number)}", f"{text} {error}" if error else text, ok=not error)
    return [replace(reply, metadata=values)]


def _string_reply(device: str, text: str, ok: bool) -> StringMessage:
    status = "SUCCESS" if ok else "FAIL"
    return StringMessage(device, text=f"<CommandReply Status={quoteattr(status)} Message={quoteattr(text)} />")


def _repeated(number: int, client: ReplayClient) -> bool:
    """PlusServer passes over a command whose number is among a client's last ten."""
    if number in client.recent_commands:
        return True
    client.recent_commands.append(number)
    return False


def _name_in(xml: str) -> str:
    """The Name of a <Command>, "" where the text is none."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        element = ElementTree.fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return ""
    return str(element.get("Name", "")) if element.tag == "Command" else ""


def execute(name: str) -> tuple[str, str, Mapping[str, str]]:
    """(error or "", text, values by name) of a command."""
    if name == "RequestChannelIds":
        return "", CHANNEL_ID, {CHANNEL_ID: CHANNEL_ID}
    if name == "RequestDeviceIds":
        return "", DEVICE_ID, {DEVICE_ID: DEVICE_ID}
    if name == "Version":
        versions = {"PlusVersion": f"liverlesionseg replay {__version__}", "IGTLProtocolVersion": PROTOCOL_VERSION}
        return "", "Success.", {**versions, "IGTLHeaderVersion": str(HIGHEST_HEADER)}
    if name in RECORDING:
        return f"A replayed sweep is not recorded again ({name}).", _FAILED, {}
    return "Unknown command type requested.", "Error attempting to process command.", {}
