"""Commands to a PlusServer, played by a script that answers as PlusLib's sources do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from xml.etree.ElementTree import fromstring

import pytest
from link_cases import ScriptedServer, image

from LiverLesionSegLib.acquisition import messages as m
from LiverLesionSegLib.acquisition import plus_server, wire
from LiverLesionSegLib.acquisition.receiver import Receiver, ReceiverSettings
from LiverLesionSegLib.errors import LinkError

Answer = Callable[[m.Message], list[tuple[m.Message, int]]]


def exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data


def plus(answer: Answer) -> Callable[[socket.socket], None]:
    """Sends an image, then answers every command."""

    def script(link: socket.socket) -> None:
        link.sendall(wire.pack(image()))
        while True:
            header = wire.unpack_header(exactly(link, 58))
            message = wire.unpack(header, exactly(link, header.body_size))
            if isinstance(message, m.CommandMessage) or message.device.startswith("CMD_"):
                for reply, version in answer(message):
                    link.sendall(wire.pack(reply, version=version))

    return script


def reply_modern(text: str, metadata: dict[str, str], number: int = 0) -> Answer:
    def answer(command: m.Message) -> list[tuple[m.Message, int]]:
        assert isinstance(command, m.CommandMessage)
        assert command.version == 2
        assert fromstring(command.text).get("Name") == command.name
        other = m.CommandMessage(device="x", command_id=command.command_id + 1, name="Other", text="<no/>", is_reply=True)
        mine = m.CommandMessage(device="x", command_id=command.command_id, name=command.name, text=text, is_reply=True, metadata=metadata)
        return [(other, 2), (mine, 2)]

    return answer


def test_version() -> None:
    values = {"PlusVersion": "2.9.0.1234", "IGTLProtocolVersion": "3", "IGTLHeaderVersion": "2", "Status": "SUCCESS", "Message": "Success."}
    answer = reply_modern('<CommandReply Name="Version" Status="SUCCESS" Message="Success."></CommandReply>', values)
    with ScriptedServer(plus(answer)) as server, Receiver("127.0.0.1", server.port) as receiver:
        assert receiver.get(10.0) is not None
        assert plus_server.version(receiver) == {"PlusVersion": "2.9.0.1234", "IGTLProtocolVersion": "3", "IGTLHeaderVersion": "2"}


def test_channel_ids_in_both_versions() -> None:
    modern = reply_modern("", {"Video": "Video", "Tracker": "Tracker", "Status": "SUCCESS", "Message": "Video,Tracker"})
    with ScriptedServer(plus(modern)) as server, Receiver("127.0.0.1", server.port) as receiver:
        assert receiver.get(10.0) is not None
        assert set(plus_server.channel_ids(receiver)) == {"Video", "Tracker"}

    def old(command: m.Message) -> list[tuple[m.Message, int]]:
        assert isinstance(command, m.StringMessage)
        assert command.version == 1
        number = command.device.removeprefix("CMD_")
        return [(m.StringMessage(device=f"ACK_{number}", text='<CommandReply Status="SUCCESS" Message="Video,Tracker" />'), 1)]

    with ScriptedServer(plus(old)) as server, Receiver("127.0.0.1", server.port, ReceiverSettings(header_version=1)) as receiver:
        assert receiver.get(10.0) is not None
        assert plus_server.channel_ids(receiver) == ("Video", "Tracker")


def test_recording_with_its_file_name() -> None:
    seen = []

    def answer(command: m.Message) -> list[tuple[m.Message, int]]:
        assert isinstance(command, m.CommandMessage)
        seen.append(dict(fromstring(command.text).attrib))
        text = f'<CommandReply Status="SUCCESS" Message="{command.name} successful."/>'
        return [(m.CommandMessage(device="x", command_id=command.command_id, name=command.name, text=text, is_reply=True), 2)]

    with ScriptedServer(plus(answer)) as server, Receiver("127.0.0.1", server.port) as receiver:
        assert receiver.get(10.0) is not None
        assert plus_server.start_recording(receiver, 'a & "b".igs.mha', capture_device="Capture").text == "StartRecording successful."
        assert plus_server.stop_recording(receiver, channel="Video").text == "StopRecording successful."
        with pytest.raises(LinkError, match="needs the id"):
            plus_server.start_recording(receiver, "a.igs.mha")
    assert seen == [
        {"Name": "StartRecording", "OutputFilename": 'a & "b".igs.mha', "CaptureDeviceId": "Capture"},
        {"Name": "StopRecording", "ChannelId": "Video"},
    ]


FAILURES = {
    "refused": reply_modern("", {"Status": "FAIL", "Error": "Recording to file is already in progress.", "Message": "Command failed."}),
    "XML that is none": reply_modern('<CommandReply Status="FAIL" Message="a < b & c"></CommandReply>', {"Status": "FAIL"}),
    "a bomb": reply_modern('<!DOCTYPE a [<!ENTITY b "c">]><CommandReply Status="SUCCESS" Message="&b;"/>', {}),
    "nested": reply_modern("<Command><Result>false</Result><Error>no such device</Error></Command>", {}),
    "empty": reply_modern("", {}),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_refusal_is_one_sentence(name: str) -> None:
    with ScriptedServer(plus(FAILURES[name])) as server, Receiver("127.0.0.1", server.port) as receiver:
        assert receiver.get(10.0) is not None
        with pytest.raises(LinkError, match="refused Version") as error:
            plus_server.version(receiver)
        assert "\n" not in str(error.value)


def test_an_unreadable_old_command_is_refused() -> None:
    def answer(command: m.Message) -> list[tuple[m.Message, int]]:
        return [(m.StringMessage(device="CMD", text='<CommandReply Status="FAIL" Message="Error attempting to process command." />'), 1)]

    with ScriptedServer(plus(answer)) as server, Receiver("127.0.0.1", server.port, ReceiverSettings(header_version=1)) as receiver:
        assert receiver.get(10.0) is not None
        with pytest.raises(LinkError, match="Error attempting to process command"):
            plus_server.ask(receiver, "Nonsense")


def test_no_answer_and_no_connection() -> None:
    with ScriptedServer(plus(lambda command: [])) as server, Receiver("127.0.0.1", server.port) as receiver:
        assert receiver.get(10.0) is not None
        with pytest.raises(LinkError, match=r"did not answer Version within 0\.1 s"):
            plus_server.version(receiver, timeout_s=0.1)
        receiver.close()
        with pytest.raises(LinkError, match="not connected"):
            plus_server.version(receiver)
