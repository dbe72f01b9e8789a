-- Reports the held mail of all sites, the oldest first: held-mail [RESTANTE]. RESTANTE is how the command is called, such as "restante --data
-- DIR"; the service has to run.
local pipe = io.popen((arg[1] or "restante") .. " --json queue list")
local text = pipe:read("*a")
if not pipe:close() then error("queue list came to nothing", 0) end
local held = {}
for _, d in ipairs(json.decode(text)) do
  if d.state == "held" then held[#held + 1] = d end
end
table.sort(held, function(a, b) return tostring(a.oldest) < tostring(b.oldest) end)
for _, d in ipairs(held) do
  print(string.format("site %d  %s  %d messages, %d bytes, oldest %s", d.site, d.domain, d.messages, d.bytes, d.oldest))
end
print(#held .. " domains hold mail")
