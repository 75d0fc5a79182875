function on_message_publish(clientid, username, topic, payload, qos, retain)
    if string.match(topic, "^lua/change/") then
        return topic, payload .. "+lua", qos, retain
    end
    if string.match(topic, "^lua/move/") then
        return string.gsub(topic, "^lua/move/", "lua/moved/", 1), payload, 1, retain
    end
    if string.match(topic, "^lua/drop/") then
        return false
    end
    if string.match(topic, "^lua/odd/") then
        return 42
    end
    return topic, payload, qos, retain
end

function on_client_subscribe(clientid, username, topic)
    if string.match(topic, "^lua/deny/") then
        return false
    end
    if string.match(topic, "^lua/sub/") then
        return "lua/subx/" .. string.sub(topic, 9)
    end
    return topic
end

function register_hook()
    return "on_message_publish", "on_client_subscribe"
end
