-- Creates sites in bulk, all or none: sites FILE.csv (NAME,ADDRESS:PORT,DOMAIN on each line, - is standard input).
local file = arg[1] == "-" and io.stdin or assert(io.open(arg[1] or error("usage: sites FILE.csv", 0)))
local service = GetObject("IIS://LocalHost/SMTPSVC")
local last = 0
for site in service do
  last = math.max(last, tonumber(site.Name) or 0)
end
transaction(function()
  local n = 0
  for line in file:lines() do
    n = n + 1
    line = line:gsub("#.*", "")
    local name, binding, domain = line:match("^%s*([^,]+),%s*([^,%s]+)%s*,%s*([^,%s]+)%s*$")
    if name then
      last = last + 1
      local site = service:Create("IIsSmtpServer", tostring(last))
      site.ServerComment = name
      site.ServerBindings = {binding}
      site.DefaultDomain = domain
      site:SetInfo()
      print(last, name)
    elseif line:match("%S") then
      error("line " .. n .. ": is not NAME,ADDRESS:PORT,DOMAIN: " .. line, 0)
    end
  end
end)
